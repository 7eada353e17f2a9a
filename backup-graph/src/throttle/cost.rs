//! Which quota a request counts against, and about how much: the table of routes.
//!
//! The figures are Microsoft's where it publishes them and estimates elsewhere; they feed budgets and metrics, never
//! a decision whether the service may be called at all.
//!
//! | service | what | units |
//! |---|---|---|
//! | files (SharePoint, OneDrive) | one item, delta with a token, a download | 1 |
//! | | listings, delta without a token, create, change, delete, upload | 2 |
//! | | permissions, also expanded | 5 |
//! | directory | listings and single objects; members 3; transitive members 5 | 2 |
//! | | with `$select` one less, with `$expand` one more, with `$top` below 20 one less | at least 1 |
//! | mail, Teams, others | each request | 1 |
//!
//! Sources: <https://learn.microsoft.com/sharepoint/dev/general-development/how-to-avoid-getting-throttled-or-blocked-in-sharepoint-online>
//! and <https://learn.microsoft.com/graph/throttling-limits>.

use http::Method;

/// The services behind Graph that count on their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Service {
    /// OneDrive and SharePoint, also their content hosts.
    Files = 0,
    /// Mail, calendars, contacts.
    Outlook = 1,
    /// Teams and chats.
    Teams = 2,
    /// Users, groups, applications, policies.
    Directory = 3,
    /// Everything else.
    Other = 4,
}

impl Service {
    pub(crate) const ALL: [Self; 5] = [Self::Files, Self::Outlook, Self::Teams, Self::Directory, Self::Other];
}

/// Which of the separate limits of concurrency a request is under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lane {
    /// Requests to Graph whose answers are read at once.
    Graph = 0,
    /// Downloads: their answers stay open as long as somebody reads.
    Download = 1,
    /// Ranges of uploads, to pre-authenticated hosts.
    Upload = 2,
}

impl Lane {
    pub(crate) const ALL: [Self; 3] = [Self::Graph, Self::Download, Self::Upload];
}

/// What one HTTP request asks of each service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Demand {
    requests: [u32; Service::ALL.len()],
    units: [u32; Service::ALL.len()],
}

impl Demand {
    /// One request to Graph.
    pub(crate) fn of(method: &Method, path: &str) -> Self {
        let (service, units) = cost(method, path);
        Self::new(service, units)
    }

    /// One request to a pre-authenticated host: they belong to SharePoint.
    pub(crate) fn of_content(method: &Method) -> Self {
        Self::new(Service::Files, if *method == Method::GET { 1 } else { 2 })
    }

    fn new(service: Service, units: u32) -> Self {
        let mut demand = Self::default();
        demand.add(service, units);
        demand
    }

    fn add(&mut self, service: Service, units: u32) {
        if let (Some(requests), Some(sum)) =
            (self.requests.get_mut(service as usize), self.units.get_mut(service as usize))
        {
            *requests += 1;
            *sum += units;
        }
    }

    pub(crate) fn and(mut self, other: Self) -> Self {
        let pairs =
            self.requests.iter_mut().zip(other.requests).chain(self.units.iter_mut().zip(other.units));
        pairs.for_each(|(mine, theirs)| *mine += theirs);
        self
    }

    /// The services that are asked, and how much.
    pub(crate) fn services(self) -> impl Iterator<Item = (Service, u32)> {
        let all = Service::ALL.into_iter().zip(self.requests).zip(self.units);
        all.filter(|((_, requests), _)| *requests > 0).map(|((service, _), units)| (service, units))
    }

    pub(crate) fn requests(self) -> u64 {
        self.requests.into_iter().map(u64::from).sum()
    }

    pub(crate) fn units(self) -> u64 {
        self.units.into_iter().map(u64::from).sum()
    }
}

/// The service behind a path and the estimated cost of a request to it.
pub(crate) fn cost(method: &Method, path: &str) -> (Service, u32) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut segments = path.split('/').filter(|segment| !segment.is_empty()).skip(1);
    let (first, second) = (name_of(segments.next()), segments.next());
    let service = service_of(first, name_of(segments.next()), second);
    let last = name_of(path.rsplit('/').next());
    let reads = *method == Method::GET;
    let units = match service {
        Service::Files if last == "permissions" || query.contains("permissions") => 5,
        Service::Files if !reads => 2,
        Service::Files => match last {
            "delta" | "microsoft.graph.delta" => 2 - u32::from(query.contains("token=")),
            "children" | "items" | "drives" | "sites" | "lists" | "versions" | "getAllSites" => 2,
            _ => 1,
        },
        Service::Directory if reads => {
            let base = match last {
                "members" => 3u32,
                "transitiveMembers" => 5,
                _ => 2,
            };
            let few = option(query, "top").is_some_and(|top| top.parse::<u32>().is_ok_and(|top| top < 20));
            let more = u32::from(option(query, "expand").is_some());
            let less = u32::from(option(query, "select").is_some()) + u32::from(few);
            (base + more).saturating_sub(less).max(1)
        }
        _ => 1,
    };
    (service, units)
}

/// A segment without the key in parentheses.
fn name_of(segment: Option<&str>) -> &str {
    segment.map_or("", |segment| segment.split('(').next().unwrap_or(segment))
}

fn service_of(first: &str, third: &str, second: Option<&str>) -> Service {
    match first {
        "drives" | "sites" | "shares" | "storage" => Service::Files,
        "teams" | "chats" | "teamwork" => Service::Teams,
        "users" | "groups" | "me" => {
            let below = if first == "me" { name_of(second) } else { third };
            match below {
                "drive" | "drives" | "sites" => Service::Files,
                "messages" | "mailFolders" | "mailboxSettings" | "outlook" | "events" | "calendar"
                | "calendars" | "calendarView" | "calendarGroups" | "contacts" | "contactFolders"
                | "conversations" | "threads" | "sendMail" => Service::Outlook,
                "chats" | "joinedTeams" | "team" | "teamwork" | "onlineMeetings" => Service::Teams,
                _ => Service::Directory,
            }
        }
        "directory"
        | "directoryObjects"
        | "directoryRoles"
        | "applications"
        | "servicePrincipals"
        | "devices"
        | "domains"
        | "organization"
        | "identity"
        | "policies"
        | "roleManagement"
        | "administrativeUnits"
        | "oauth2PermissionGrants" => Service::Directory,
        _ => Service::Other,
    }
}

/// The value of a query option, written `$name=` or `%24name=`.
fn option<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let key = key.strip_prefix('$').or_else(|| key.strip_prefix("%24"))?;
        (key == name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_cost_what_the_table_says() {
        use Service::{Directory, Files, Other, Outlook, Teams};
        for (method, path, expected) in [
            ("GET", "/v1.0/drives/b!1/items/2", (Files, 1)),
            ("GET", "/v1.0/drives/b!1/root/delta", (Files, 2)),
            ("GET", "/v1.0/drives/b!1/root/delta(token='x')?token=latest", (Files, 1)),
            ("GET", "/v1.0/drives/1/items/2/children?$top=5", (Files, 2)),
            ("GET", "/v1.0/drives/1/items/2/permissions", (Files, 5)),
            ("GET", "/v1.0/drives/1/items/2?$expand=permissions", (Files, 5)),
            ("PATCH", "/v1.0/drives/1/items/2", (Files, 2)),
            ("GET", "/v1.0/users/1/drives", (Files, 2)),
            ("GET", "/v1.0/me/drive", (Files, 1)),
            ("GET", "/v1.0/sites/getAllSites", (Files, 2)),
            ("GET", "/v1.0/users", (Directory, 2)),
            ("GET", "/v1.0/users?$select=id&$top=10", (Directory, 1)),
            ("GET", "/v1.0/users?$top=100&%24expand=manager", (Directory, 3)),
            ("GET", "/v1.0/groups/1/members", (Directory, 3)),
            ("GET", "/v1.0/groups/1/transitiveMembers?$select=id", (Directory, 4)),
            ("GET", "/v1.0/users/1/messages", (Outlook, 1)),
            ("GET", "/v1.0/teams/1/channels", (Teams, 1)),
            ("GET", "/v1.0/items/1", (Other, 1)),
            ("GET", "", (Other, 1)),
        ] {
            assert_eq!(cost(&method.parse().unwrap(), path), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_batch_asks_the_sum_of_its_requests() {
        let demand = Demand::of(&Method::GET, "/v1.0/users").and(Demand::of_content(&Method::PUT));
        assert_eq!((demand.requests(), demand.units()), (2, 4));
        let services: Vec<_> = demand.services().collect();
        assert_eq!(services, [(Service::Files, 2), (Service::Directory, 2)]);
    }
}
