//! Sites and subsites, those of groups and of users included.

use backup_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use super::answer::{Answered, Refusal, json};
use super::directory::{Directory, guid, with_context};
use super::node::Identity;
use super::odata;
use super::route::query;
use super::tenant::Tenant;
use crate::client::encode_segment;

/// Where the tenant's sites are, as ids name it.
const SITES_HOST: &str = "contoso.sharepoint.com";
/// The root site, which every tenant has.
const ROOT_SITE: &str =
    "contoso.sharepoint.com,00000000-0000-4000-8000-000000000001,00000000-0000-4000-8000-000000000002";
/// Where the users' own sites are.
const PERSONAL_HOST: &str = "contoso-my.sharepoint.com";

#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) id: String,
    pub(super) name: String,
    parent: Option<String>,
    path: String,
    /// Whose drives are here, if it is the site of a group or of a user.
    owner: Option<Identity>,
}

impl Site {
    /// The site that a group's drive is in.
    pub(super) fn of_group(group: &Identity, alias: &str) -> Self {
        let id = format!("{SITES_HOST},{0},{0}", group.id);
        let path = format!("/sites/{alias}");
        Self { id, name: group.name.clone(), parent: None, path, owner: Some(group.clone()) }
    }

    /// The site that a user's OneDrive is in.
    pub(super) fn of_user(user: &Identity) -> Self {
        let id = format!("{PERSONAL_HOST},{0},{0}", user.id);
        let path = format!("/personal/{}", user.email.replace(['@', '.'], "_"));
        Self { id, name: user.name.clone(), parent: None, path, owner: Some(user.clone()) }
    }

    /// The id below which its drives are kept.
    pub(super) fn drives_of(self) -> String {
        self.owner.map_or(self.id, |owner| owner.id)
    }

    fn is_personal(&self) -> bool {
        self.owner.as_ref().is_some_and(|owner| owner.kind == "user")
    }

    fn to_json(&self) -> Value {
        let host = if self.is_personal() { PERSONAL_HOST } else { SITES_HOST };
        let mut body = json!({
            "id": self.id, "name": self.path.rsplit('/').next(), "displayName": self.name,
            "webUrl": format!("https://{host}{}", self.path), "isPersonalSite": self.is_personal(),
            "createdDateTime": "2020-01-01T00:00:00Z", "lastModifiedDateTime": "2026-01-01T00:00:00Z",
            "siteCollection": { "hostname": host },
        });
        match &self.parent {
            Some(parent) => body["parentReference"] = json!({ "siteId": parent }),
            // The top of a site collection.
            None => body["root"] = json!({}),
        }
        body
    }
}

impl Directory {
    pub(super) fn root_site_id(&self) -> &'static str {
        ROOT_SITE
    }

    /// A site by id, as `root`, or as `host:/path`.
    pub(super) fn site(&self, name: &str) -> Option<Site> {
        let root = || Site {
            id: ROOT_SITE.to_owned(),
            name: "Communication site".to_owned(),
            parent: None,
            path: String::new(),
            owner: None,
        };
        let path =
            name.strip_prefix(SITES_HOST).map(|rest| rest.trim_start_matches(':').trim_end_matches('/'));
        if name == "root" || name == ROOT_SITE || path == Some("") {
            return Some(root());
        }
        self.sites.iter().find(|site| site.id == name || path == Some(site.path.as_str())).cloned()
    }
}

impl Tenant {
    /// Adds a site, below the root or below another site. Returns its id.
    ///
    /// # Errors
    /// `NotFound` if there is no site `parent`.
    pub fn add_site(&mut self, name: &str, parent: Option<&str>) -> Result<String> {
        let unknown = |id: &str| Error::new(ErrorKind::NotFound, "no such site").with_item(id);
        let parent = match parent {
            None => None,
            Some(id) => Some(self.directory.site(id).ok_or_else(|| unknown(id))?),
        };
        let id = format!("{SITES_HOST},{},{}", guid(&mut self.rng), guid(&mut self.rng));
        let above = parent.as_ref().map_or("/sites", |parent| parent.path.as_str());
        let path = format!("{above}/{}", name.replace(' ', ""));
        let parent = parent.map(|parent| parent.id);
        self.directory.sites.push(Site { id: id.clone(), name: name.to_owned(), parent, path, owner: None });
        Ok(id)
    }

    /// Adds an empty library to a site; the first one is the site's default drive. Returns the drive's id.
    ///
    /// # Errors
    /// `NotFound` if there is no such site.
    pub fn add_library(&mut self, site: &str, name: &str) -> Result<String> {
        let unknown = || Error::new(ErrorKind::NotFound, "no such site").with_item(site);
        let site = self.directory.site(site).ok_or_else(unknown)?;
        let owner = Identity {
            kind: "group",
            name: format!("{} Owners", site.name),
            id: site.drives_of(),
            email: String::new(),
        };
        Ok(self.new_drive(owner, name, "documentLibrary"))
    }
}

/// The sites of the tenant: those at the top of a site collection, and subsites on demand.
pub(super) fn all(tenant: &Tenant, request: &Request<Bytes>, subsites: bool) -> Answered {
    let search = query(request, "search").filter(|search| search != "*").unwrap_or_default().to_lowercase();
    let listed = |site: &Site| site.parent.is_none() || subsites;
    let root = tenant.directory.site("root");
    let all = root.into_iter().chain(tenant.directory.sites.iter().filter(|site| listed(site)).cloned());
    let all = all.filter(|site| site.name.to_lowercase().contains(&search)).collect();
    page(tenant, request, "sites/getAllSites", all)
}

/// The sites directly below a site.
pub(super) fn below(tenant: &Tenant, request: &Request<Bytes>, name: &str) -> Answered {
    let id = tenant.directory.site(name).ok_or_else(Refusal::not_found)?.id;
    let all = tenant.directory.sites.iter().filter(|site| site.parent.as_deref() == Some(&id));
    page(tenant, request, &format!("sites/{}/sites", encode_segment(&id)), all.cloned().collect())
}

pub(super) fn one(tenant: &Tenant, name: &str) -> Answered {
    let site = tenant.directory.site(name).ok_or_else(Refusal::not_found)?;
    Ok(json(200, &with_context(tenant, "sites/$entity", site.to_json())))
}

fn page(tenant: &Tenant, request: &Request<Bytes>, path: &str, all: Vec<Site>) -> Answered {
    let select = query(request, "$select");
    let entry = |index: usize| {
        let mut body = all.get(index)?.to_json();
        if let Some(site) = body.as_object_mut() {
            odata::select(site, select.as_deref());
        }
        Some(body)
    };
    Ok(json(200, &odata::page(tenant, request, path, "sites", all.len(), entry)?))
}
