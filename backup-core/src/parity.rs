//! Reed-Solomon parity of one stripe: what is lost of a few blocks is computed from the others.
//!
//! The code is that of the `reed-solomon-simd` crate: systematic, over GF(2^16), by the transform of Lin, Chung and Han (2014) as in Leopard-RS.
//! Which code it is belongs to the format: a test holds its output against a known one.

use crate::error::{Error, Result};

/// Every block of a stripe has a multiple of so many bytes.
pub(crate) const ALIGNMENT: usize = 64;

fn failed(error: reed_solomon_simd::Error) -> Error {
    Error::bug("a stripe's blocks do not fit together").with_source(error)
}

/// So many parity blocks for blocks of equal length. CPU-heavy.
pub(crate) fn encode(blocks: &[Vec<u8>], parity: usize) -> Result<Vec<Vec<u8>>> {
    reed_solomon_simd::encode(blocks.len(), parity, blocks).map_err(failed)
}

/// The blocks that are missing among `blocks`, in their places, from those that are there and the parity that is there. None if there are too few.
/// CPU-heavy.
pub(crate) fn rebuild(
    mut blocks: Vec<Option<Vec<u8>>>,
    parity: &[Option<Vec<u8>>],
) -> Result<Option<Vec<Vec<u8>>>> {
    let missing = blocks.iter().filter(|block| block.is_none()).count();
    if missing > parity.iter().flatten().count() {
        return Ok(None);
    }
    if missing > 0 {
        fn present(blocks: &[Option<Vec<u8>>]) -> impl Iterator<Item = (usize, &Vec<u8>)> {
            blocks.iter().enumerate().filter_map(|(number, block)| Some((number, block.as_ref()?)))
        }
        let rebuilt =
            reed_solomon_simd::decode(blocks.len(), parity.len(), present(&blocks), present(parity));
        for (number, block) in rebuilt.map_err(failed)? {
            blocks.iter_mut().skip(number).take(1).for_each(|place| *place = Some(block.clone()));
        }
    }
    Ok(blocks.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(seed: u8, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn any_loss_up_to_the_number_of_parity_blocks_is_made_good_and_one_more_is_said() {
        for (count, parity_count) in [(1, 1), (1, 3), (5, 2), (20, 2), (3, 7), (255, 32)] {
            let blocks: Vec<_> = (0..count).map(|number| block(number as u8, 192)).collect();
            let parity = encode(&blocks, parity_count).unwrap();
            assert_eq!(parity.len(), parity_count);
            for start in 0..(count + parity_count).min(40) {
                for lost in 0..=parity_count + 1 {
                    let all = blocks.iter().chain(&parity).cloned().map(Some);
                    let mut all: Vec<_> = all.collect();
                    let whole = all.len();
                    (start..start + lost).for_each(|number| all[number % whole] = None);
                    let parity = all.split_off(count);
                    let gone = all.iter().filter(|block| block.is_none()).count();
                    let left = parity.iter().flatten().count();
                    let rebuilt = rebuild(all, &parity).unwrap();
                    assert_eq!(rebuilt.is_some(), gone <= left, "{count} {parity_count} {start} {lost}");
                    assert!(rebuilt.is_none_or(|rebuilt| rebuilt == blocks));
                }
            }
        }
    }

    #[test]
    fn the_code_is_the_one_of_the_format() {
        let blocks: Vec<_> = (0..20).map(|number| block(number, 64 << 10)).collect();
        let parity = encode(&blocks, 3).unwrap().concat();
        assert_eq!(blake3::hash(&parity).to_hex().as_str(), KNOWN);
    }

    const KNOWN: &str = "8107d82023e9325d075a32b7f4903852a6c2cecac266f3c45b4c443d7f9d8167";
}
