//! Made-up office documents: texts that compress as texts do, containers (`.docx`, `.xlsx`) that are real ZIP archives.

use std::fmt::Write as _;

use bytes::Bytes;

use super::rng::Rng;

const WORDS: [&str; 40] = [
    "account",
    "agreement",
    "amount",
    "annex",
    "approval",
    "area",
    "board",
    "budget",
    "clause",
    "client",
    "committee",
    "cost",
    "customer",
    "date",
    "delivery",
    "department",
    "estimate",
    "figure",
    "growth",
    "increase",
    "index",
    "invoice",
    "item",
    "margin",
    "market",
    "meeting",
    "offer",
    "order",
    "partner",
    "payment",
    "period",
    "product",
    "quarter",
    "report",
    "result",
    "review",
    "schedule",
    "supplier",
    "target",
    "volume",
];

/// The document of this number: the first is empty, every fiftieth is large, the rest are as office files are.
/// Returns the extension too.
pub(super) fn document(rng: &mut Rng, number: usize) -> (&'static str, Bytes) {
    let length = match number % 50 {
        0 => 0,
        25 => 1_000_000 + rng.below(5_000_000),
        // Sizes spread evenly over orders of magnitude, from 256 bytes to 256 KiB.
        _ => (256 << rng.below(10)) + rng.below(512),
    };
    let length = usize::try_from(length).unwrap_or(0);
    match (rng.below(6), length) {
        (_, 0) => ("txt", Bytes::new()),
        (0, _) => ("txt", text(rng, length).into()),
        (1, _) => ("csv", table(rng, length).into()),
        (2, _) => ("pdf", pdf(rng, length).into()),
        (3, _) => ("xlsx", office(rng, "xl/workbook.xml", length).into()),
        _ => ("docx", office(rng, "word/document.xml", length).into()),
    }
}

fn text(rng: &mut Rng, length: usize) -> Vec<u8> {
    let mut text = String::with_capacity(length + 16);
    while text.len() < length {
        for _ in 0..6 + rng.below(10) {
            text.push_str(rng.pick(&WORDS));
            text.push(' ');
        }
        text.push_str(".\r\n");
    }
    text.truncate(length);
    text.into_bytes()
}

fn table(rng: &mut Rng, length: usize) -> Vec<u8> {
    let mut table = String::from("Number;Item;Quantity;Price\r\n");
    let mut row = 1;
    while table.len() < length {
        let (item, quantity, cents) = (rng.pick(&WORDS), rng.below(500), rng.below(100_000));
        // Writing into a string cannot fail.
        let _ = write!(table, "{row};{item};{quantity};{}.{:02}\r\n", cents / 100, cents % 100);
        row += 1;
    }
    table.truncate(length);
    table.into_bytes()
}

fn pdf(rng: &mut Rng, length: usize) -> Vec<u8> {
    let mut pdf = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n".to_vec();
    let stream = rng.bytes(length.saturating_sub(200));
    pdf.extend_from_slice(
        format!("3 0 obj\n<< /Length {} /Filter /FlateDecode >>\nstream\n", stream.len()).as_bytes(),
    );
    pdf.extend_from_slice(&stream);
    pdf.extend_from_slice(b"\nendstream\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n");
    pdf
}

fn office(rng: &mut Rng, part: &str, length: usize) -> Vec<u8> {
    let types = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Types xmlns=\"http://schemas.openxmlformats.org/package/2006/\
                 content-types\"><Default Extension=\"xml\" ContentType=\"application/xml\"/></Types>";
    let body = text(rng, length / 4);
    // Most of an office file is compressed already; noise stands for that.
    let media = rng.bytes(length.saturating_sub(body.len()));
    zip(&[("[Content_Types].xml", types.as_bytes()), (part, &body), ("media/image1.jpeg", &media)])
}

/// A ZIP archive of stored members.
fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut directory = Vec::new();
    for (name, content) in members {
        let offset = u32_of(archive.len());
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0x5a];
        common.extend_from_slice(&crc32(content).to_le_bytes());
        common.extend_from_slice(&u32_of(content.len()).to_le_bytes());
        common.extend_from_slice(&u32_of(content.len()).to_le_bytes());
        common.extend_from_slice(&u16_of(name.len()).to_le_bytes());
        common.extend_from_slice(&[0, 0]);
        archive.extend_from_slice(b"PK\x03\x04");
        archive.extend_from_slice(&common);
        archive.extend_from_slice(name.as_bytes());
        archive.extend_from_slice(content);
        directory.extend_from_slice(b"PK\x01\x02\x14\x00");
        directory.extend_from_slice(&common);
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&offset.to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
    }
    let (start, length, count) = (u32_of(archive.len()), u32_of(directory.len()), u16_of(members.len()));
    archive.extend_from_slice(&directory);
    archive.extend_from_slice(b"PK\x05\x06\x00\x00\x00\x00");
    archive.extend_from_slice(&count.to_le_bytes());
    archive.extend_from_slice(&count.to_le_bytes());
    archive.extend_from_slice(&length.to_le_bytes());
    archive.extend_from_slice(&start.to_le_bytes());
    archive.extend_from_slice(&[0, 0]);
    archive
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

fn u32_of(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn u16_of(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_zip() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn the_same_seed_makes_the_same_document() {
        for number in 0..60 {
            let make = || document(&mut Rng::new(number), usize::try_from(number).unwrap());
            assert_eq!(make(), make());
        }
        assert!(document(&mut Rng::new(1), 25).1.len() > 900_000);
    }
}
