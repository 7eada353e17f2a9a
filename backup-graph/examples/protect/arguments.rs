//! The command line.

use std::path::PathBuf;

pub(crate) const HELP: &str = "\
Protects a simulated Microsoft 365 tenant, or a folder of yours, with an encrypted repository.

usage: protect [--documents DIR] [--repository URL]
       protect --folder PATH [--restore-to PATH] [--repository URL]

  --folder PATH       back up this folder instead of a simulated tenant
  --restore-to PATH   and restore its newest snapshot to this folder
  --documents DIR     fill the tenant's drives with the files of this directory
                      (default: 600 made-up office documents)
  --repository URL    where the repository is or is to be: a path, file:///path
                      (default for a tenant: a new temporary directory;
                      for a folder: ./backup-repository)

The passphrase is read from BACKUP_PASSPHRASE; without it, the tenant's repository gets a well-known
one, and a folder is not backed up.";

/// What is to be done.
pub(crate) enum Job {
    Tenant { documents: Option<PathBuf> },
    Folder { path: PathBuf, restore_to: Option<PathBuf> },
}

pub(crate) struct Arguments {
    pub(crate) job: Job,
    pub(crate) repository: Option<String>,
}

impl Arguments {
    /// Reads the command line; none if help was asked for.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let (mut folder, mut restore_to, mut documents, mut repository) = (None, None, None, None);
        while let Some(word) = words.next() {
            let slot = match word.as_str() {
                "--folder" => &mut folder,
                "--restore-to" => &mut restore_to,
                "--documents" => &mut documents,
                "--repository" => &mut repository,
                "--help" | "-h" => return Ok(None),
                other => return Err(format!("there is no option {other:?}")),
            };
            *slot = Some(words.next().ok_or_else(|| format!("{word} needs a value"))?);
        }
        let job = match folder {
            Some(_) if documents.is_some() => {
                return Err("--documents belongs to the simulated tenant".into());
            }
            Some(path) => Job::Folder { path: path.into(), restore_to: restore_to.map(PathBuf::from) },
            None if restore_to.is_some() => return Err("--restore-to needs --folder".into()),
            None => Job::Tenant { documents: documents.map(PathBuf::from) },
        };
        Ok(Some(Self { job, repository }))
    }
}
