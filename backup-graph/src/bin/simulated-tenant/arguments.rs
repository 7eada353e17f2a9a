//! The command line.

use std::path::PathBuf;

use backup_graph::sim::Entrance;

pub(crate) const HELP: &str = "\
Runs a simulated Microsoft 365 tenant on 127.0.0.1 until standard input ends or it is told to stop.

usage: simulated-tenant [--http | --proxy] [--port N] [--ca-file PATH]
                        [--drive OWNER [--documents N | --seed-dir DIR]]...
                        [--app ID --secret TEXT]... [--seed N] [--page-entries N]
                        [--throttle PERCENT [--retry-after SECONDS]] [--lenient]

how it is reached (default: HTTPS, Graph at https://localhost, downloads and uploads at https://127.0.0.1)
  --http                 plain HTTP on two ports
  --proxy                an HTTP proxy in the place of Microsoft's hosts: point HTTPS_PROXY at it
  --port N               Graph's or the proxy's port (default: any free one)
  --ca-file PATH         write the certificate that clients must trust to this file

what is in it
  --drive OWNER          a drive of this user; the options after it fill it, without them it is empty
                         (default: ada@contoso.example with 200 documents)
  --documents N          that many made-up office documents
  --seed-dir DIR         the files of this folder
  --app ID --secret TEXT an application that may sign in
                         (default: simulated-application, simulated-secret)
  --seed N               what all ids and made-up documents follow from (default: 2026)

how it behaves
  --page-entries N       entries of a page where the client names no number (default: 200)
  --throttle PERCENT     so many of a hundred requests are answered 429, as the seed decides
  --retry-after SECONDS  and ask to wait that long (default: 1)
  --lenient              let pass what the documentation forbids and the service often forgives: tokens at
                         pre-authenticated addresses (counted all the same), uneven ranges of uploads

It prints a line of JSON when it is ready: addresses, tenant, applications, drives, certificate. The line
`report` on its standard input is answered with another: requests by kind, requests made although it had
asked to wait (inside_window), tokens sent where they do not belong (leaked_tokens), and a fingerprint of
each drive. The same is printed at the end. Nothing is kept.";

const OWNER: &str = "ada@contoso.example";
const DOCUMENTS: usize = 200;
const APPLICATION: &str = "simulated-application";
const SECRET: &str = "simulated-secret";
const SEED: u64 = 2026;

/// What a drive is filled with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Documents {
    None,
    MadeUp(usize),
    From(PathBuf),
}

#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) entrance: Entrance,
    pub(crate) port: u16,
    pub(crate) authority_file: Option<PathBuf>,
    pub(crate) drives: Vec<(String, Documents)>,
    pub(crate) applications: Vec<(String, String)>,
    pub(crate) seed: u64,
    pub(crate) page_entries: Option<usize>,
    pub(crate) throttle_percent: u64,
    pub(crate) retry_after_seconds: u64,
    pub(crate) lenient: bool,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            entrance: Entrance::Tls,
            port: 0,
            authority_file: None,
            drives: Vec::new(),
            applications: Vec::new(),
            seed: SEED,
            page_entries: None,
            throttle_percent: 0,
            retry_after_seconds: 1,
            lenient: false,
        }
    }
}

impl Arguments {
    /// Reads the command line; none if help was asked for.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut arguments = Self::default();
        let mut application = None;
        while let Some(word) = words.next() {
            match word.as_str() {
                "--help" | "-h" => return Ok(None),
                "--http" => arguments.entrance = Entrance::Http,
                "--proxy" => arguments.entrance = Entrance::Proxy,
                "--lenient" => arguments.lenient = true,
                _ => {
                    let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
                    arguments.set(&word, value, &mut application)?;
                }
            }
        }
        if application.is_some() {
            return Err("--app needs a --secret".into());
        }
        if arguments.entrance == Entrance::Http && arguments.authority_file.is_some() {
            return Err("there is no certificate over plain HTTP".into());
        }
        if arguments.throttle_percent > 100 {
            return Err("--throttle is a share of a hundred".into());
        }
        if arguments.drives.is_empty() {
            arguments.drives.push((OWNER.to_owned(), Documents::MadeUp(DOCUMENTS)));
        }
        if arguments.applications.is_empty() {
            arguments.applications.push((APPLICATION.to_owned(), SECRET.to_owned()));
        }
        Ok(Some(arguments))
    }

    fn set(&mut self, word: &str, value: String, application: &mut Option<String>) -> Result<(), String> {
        match word {
            "--port" => self.port = number(word, &value)?,
            "--ca-file" => self.authority_file = Some(value.into()),
            "--drive" => self.drives.push((value, Documents::None)),
            "--documents" => self.fill(word, Documents::MadeUp(number(word, &value)?))?,
            "--seed-dir" => self.fill(word, Documents::From(value.into()))?,
            "--app" => *application = Some(value),
            "--secret" => {
                let id = application.take().ok_or("--secret belongs to the --app before it")?;
                self.applications.push((id, value));
            }
            "--seed" => self.seed = number(word, &value)?,
            "--page-entries" => self.page_entries = Some(number(word, &value)?),
            "--throttle" => self.throttle_percent = number(word, &value)?,
            "--retry-after" => self.retry_after_seconds = number(word, &value)?,
            other => return Err(format!("there is no option {other:?}")),
        }
        Ok(())
    }

    fn fill(&mut self, word: &str, documents: Documents) -> Result<(), String> {
        match self.drives.last_mut() {
            Some((_, filled)) if *filled == Documents::None => {
                *filled = documents;
                Ok(())
            }
            Some(_) => Err("a drive is filled once".into()),
            None => Err(format!("{word} belongs to the --drive before it")),
        }
    }
}

fn number<T: std::str::FromStr>(word: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{word} needs a number, not {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Arguments>, String> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_fill_the_drive_before_them() {
        let line =
            "--proxy --drive a@x --documents 3 --drive b@x --drive c@x --seed-dir docs --app 1 --secret 2";
        let arguments = parse(line).unwrap().unwrap();
        assert_eq!(arguments.entrance, Entrance::Proxy);
        assert_eq!(arguments.applications, [("1".to_owned(), "2".to_owned())]);
        let filled: Vec<&Documents> = arguments.drives.iter().map(|(_, documents)| documents).collect();
        assert_eq!(filled, [&Documents::MadeUp(3), &Documents::None, &Documents::From("docs".into())]);
    }

    #[test]
    fn nothing_given_is_a_tenant_with_one_full_drive() {
        let arguments = parse("").unwrap().unwrap();
        assert_eq!((arguments.entrance, arguments.drives.len()), (Entrance::Tls, 1));
        assert_eq!(arguments.applications.len(), 1);
        assert!(parse("--http --help").unwrap().is_none());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "--nothing 1",
            "--port",
            "--port many",
            "--documents 3",
            "--secret 1",
            "--app 1",
            "--drive a --documents 1 --seed-dir d",
            "--throttle 101",
            "--http --ca-file x",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
