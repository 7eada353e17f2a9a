//! The clouds that Microsoft runs apart from each other: where each has Graph and where it issues tokens.

/// A cloud. A tenant is in exactly one, and an application is registered in the same one.
///
/// Source: [national cloud deployments](https://learn.microsoft.com/graph/deployments). Microsoft's GCC, unlike GCC High,
/// is in the global cloud.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cloud {
    /// The global cloud, which also has GCC.
    #[default]
    Global,
    /// The United States' government, level 4: GCC High.
    UsGovernment,
    /// The United States' Department of Defense, level 5.
    UsDefense,
    /// China, operated by 21Vianet.
    China,
}

impl Cloud {
    /// Every cloud.
    pub const ALL: &[Self] = &[Self::Global, Self::UsGovernment, Self::UsDefense, Self::China];

    /// Graph's base address, for [`GraphClient::new`](crate::GraphClient::new).
    #[must_use]
    pub const fn graph(self) -> &'static str {
        match self {
            Self::Global => crate::GLOBAL_GRAPH,
            Self::UsGovernment => "https://graph.microsoft.us",
            Self::UsDefense => "https://dod-graph.microsoft.us",
            Self::China => "https://microsoftgraph.chinacloudapi.cn",
        }
    }

    /// The issuer of tokens, for the credentials in [`auth`](crate::auth).
    #[must_use]
    pub const fn authority(self) -> &'static str {
        match self {
            Self::Global => crate::auth::GLOBAL_AUTHORITY,
            Self::UsGovernment | Self::UsDefense => "https://login.microsoftonline.us",
            Self::China => "https://login.chinacloudapi.cn",
        }
    }

    /// What a token for Graph is asked for: all permissions that the application was given.
    #[must_use]
    pub const fn scope(self) -> &'static str {
        match self {
            Self::Global => "https://graph.microsoft.com/.default",
            Self::UsGovernment => "https://graph.microsoft.us/.default",
            Self::UsDefense => "https://dod-graph.microsoft.us/.default",
            Self::China => "https://microsoftgraph.chinacloudapi.cn/.default",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_below_its_own_graph_and_every_address_is_on_the_page() {
        let page = include_str!("../../docs/graph.md");
        for cloud in Cloud::ALL {
            assert_eq!(cloud.scope(), format!("{}/.default", cloud.graph()));
            let row = page.lines().find(|line| line.contains(&format!("`Cloud::{cloud:?}`"))).unwrap();
            assert!(row.contains(cloud.graph()) && row.contains(cloud.authority()), "{row}");
        }
    }
}
