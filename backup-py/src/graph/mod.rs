//! Microsoft 365: a tenant, what is in it, and its drives as sources and sinks.
//!
//! Start reading at `tenant`; `token` is how Python gives out tokens, `listings` are the iterators, `values` the dataclasses.

mod drive;
mod listings;
mod tenant;
mod token;
mod values;

pub(crate) use drive::{DriveSink, DriveSource};
pub(crate) use tenant::Tenant;
