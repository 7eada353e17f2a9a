//! Microsoft 365 through the C door, against the simulated tenant behind HTTP on the loopback interface.

#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "calls of C; a test that cannot go on fails"
)]
#![cfg(feature = "graph")]

use std::ffi::{CStr, CString, c_char};
use std::ptr::{null, null_mut};

use ::backup_graph::sim::{SimServer, Simulation, Tenant};
use backup::*;

fn good(error: *mut backup_error) {
    assert_eq!(failed(error), (0, String::new()));
}

fn failed(error: *mut backup_error) -> (u32, String) {
    if error.is_null() {
        return (0, String::new());
    }
    // SAFETY: it comes from a call of the library, and is freed once.
    unsafe {
        let text = CStr::from_ptr(backup_error_detail(error)).to_str().unwrap().to_owned();
        let code = backup_error_code(error);
        backup_error_free(error);
        (code, text)
    }
}

fn text(text: *const c_char) -> String {
    // SAFETY: NULL, or it lives as long as its list.
    if text.is_null() { String::new() } else { unsafe { CStr::from_ptr(text) }.to_str().unwrap().to_owned() }
}

/// Kind, id, address and owner of all entries; frees the list.
fn entries(list: *mut backup_graph_list) -> Vec<(u32, String, String, String)> {
    // SAFETY: the list comes from a call of the library, and is freed once.
    unsafe {
        let all = (0..backup_graph_list_count(list)).map(|index| {
            let mut entry: backup_graph_entry = std::mem::zeroed();
            entry.struct_size = size_of::<backup_graph_entry>() as u32;
            good(backup_graph_list_at(list, index, &raw mut entry));
            (entry.kind, text(entry.id), text(entry.address), text(entry.owner))
        });
        let all = all.collect();
        backup_graph_list_free(list);
        all
    }
}

#[test]
fn a_drive_of_a_simulated_tenant_comes_back_whole() {
    let mut tenant = Tenant::new(7);
    tenant.add_application("application", "secret");
    let (ada, bob) = (tenant.add_drive("ada@contoso.example"), tenant.add_drive("bob@contoso.example"));
    tenant.seed_documents(&ada, 7, 40).unwrap();
    let id = tenant.id().to_owned();
    let simulation = Simulation::new(tenant);
    let service = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = service.block_on(SimServer::start(simulation.clone())).unwrap();
    let of = |text: &str| CString::new(text).unwrap();
    let (id, graph_url, login_url) = (of(&id), of(server.graph_url()), of(server.login_url()));

    // SAFETY: all pointers are handles from calls above, or to locals and texts that live through the calls; all are freed once.
    unsafe {
        let (mut runtime, mut options, mut graph) = (null_mut(), null_mut(), null_mut());
        good(backup_runtime_new(1, &raw mut runtime));
        good(backup_options_new(&raw mut options));
        good(backup_options_set(options, c"graph_url".as_ptr(), graph_url.as_ptr()));
        good(backup_options_set(options, c"login_url".as_ptr(), login_url.as_ptr()));
        let connect = |secret: &[u8], options, out| {
            let (tenant, client) = (id.as_ptr(), c"application".as_ptr());
            backup_graph_secret(runtime, tenant, client, secret.as_ptr(), secret.len(), options, out)
        };
        good(connect(b"secret", options, &raw mut graph));

        let mut list = null_mut();
        good(backup_graph_users(graph, &raw mut list));
        let mut users: Vec<_> =
            entries(list).into_iter().map(|(kind, _, address, _)| (kind, address)).collect();
        users.sort();
        assert_eq!(users, [(1, "ada@contoso.example".to_owned()), (1, "bob@contoso.example".to_owned())]);
        good(backup_graph_groups(graph, &raw mut list));
        assert!(entries(list).is_empty());
        good(backup_graph_sites(graph, &raw mut list));
        entries(list);
        good(backup_graph_drives(graph, 1, c"ada@contoso.example".as_ptr(), &raw mut list));
        assert_eq!(entries(list).into_iter().map(|entry| entry.1).collect::<Vec<_>>(), [&*ada]);
        assert_eq!(failed(backup_graph_drives(graph, 4, c"ada".as_ptr(), &raw mut list)).0, 1);
        good(backup_graph_every_drive(graph, &raw mut list));
        let mut drives: Vec<_> = entries(list).into_iter().map(|entry| (entry.0, entry.1, entry.3)).collect();
        drives.sort();
        let mut expected = [
            (4, ada.clone(), "ada@contoso.example".to_owned()),
            (4, bob.clone(), "bob@contoso.example".to_owned()),
        ];
        expected.sort();
        assert_eq!(drives, expected);

        // One drive's content into the other.
        let (mut credential, mut repo, mut source, mut sink) =
            (null_mut(), null_mut(), null_mut(), null_mut());
        good(backup_credential_raw_key([7; 32].as_ptr(), 32, &raw mut credential));
        good(backup_repo_init(runtime, c"memory://".as_ptr(), null(), credential, &raw mut repo));
        let (from, to) = (of(&ada), of(&bob));
        good(backup_graph_drive_source(graph, from.as_ptr(), null(), &raw mut source));
        good(backup_graph_drive_sink(graph, to.as_ptr(), null(), null(), &raw mut sink));
        assert_eq!(failed(backup_graph_drive_source(graph, from.as_ptr(), options, &raw mut source)).0, 1);
        // What is made of a client does not need it any more.
        backup_graph_free(graph);
        let mut done: backup_result = std::mem::zeroed();
        done.struct_size = size_of::<backup_result>() as u32;
        good(backup_repo_backup(repo, source, null(), null(), &raw mut done, null_mut(), None, null_mut()));
        assert_eq!((done.state, done.problems), (1, 0));
        let snapshot = done.snapshot.as_ptr();
        let result = backup_repo_restore(
            repo,
            snapshot,
            sink,
            0,
            null(),
            null(),
            null_mut(),
            null_mut(),
            None,
            null_mut(),
        );
        good(result);
        let print = |drive: &str| simulation.with(|tenant| tenant.fingerprint(drive)).unwrap();
        assert_eq!(print(&ada), print(&bob));

        // A wrong secret is told at the first request, and never shown.
        let mut refused = null_mut();
        good(connect(b"letmein", options, &raw mut refused));
        let (code, detail) = failed(backup_graph_users(refused, &raw mut list));
        assert_eq!(code, 17, "{detail}");
        assert!(!detail.contains("letmein"), "{detail}");
        backup_graph_free(refused);
        // So is a token that is none; and what cannot be a client at all is told at once.
        good(backup_graph_token(runtime, b"stale".as_ptr(), 5, options, &raw mut refused));
        assert_eq!(failed(backup_graph_users(refused, &raw mut list)).0, 17);
        backup_graph_free(refused);
        assert_eq!(failed(connect(b"", options, &raw mut refused)).0, 1);
        let pem = backup_graph_certificate(
            runtime,
            id.as_ptr(),
            c"application".as_ptr(),
            b"no pem".as_ptr(),
            6,
            options,
            &raw mut refused,
        );
        assert_eq!(failed(pem).0, 1);
        good(backup_options_set(options, c"cloud".as_ptr(), c"cumulus".as_ptr()));
        assert_eq!(failed(connect(b"secret", options, &raw mut refused)).0, 1);

        backup_sink_free(sink);
        backup_source_free(source);
        backup_repo_free(repo);
        backup_credential_free(credential);
        backup_options_free(options);
        backup_runtime_free(runtime);
    }
    drop(server);
}
