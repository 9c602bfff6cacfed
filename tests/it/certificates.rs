//! Our own certificates while the gateway runs: changed, deleted, broken, lost; and the MTA-STS policy it serves.

use anyhow::{Context, Result};
use secmx::config::Config;
use secmx_lab::ca::Flaw;
use secmx_lab::client::Client;
use secmx_tests::Rig;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A rig whose certificate lies in files; what is put below `[tls]` names them.
async fn rig() -> Result<(Rig, PathBuf, PathBuf, String)> {
    let rig = Rig::world().await?;
    let (chain, key) = (rig.state().join("chain.pem"), rig.state().join("key.pem"));
    let certs = format!("[tls]\ncerts = [{{ cert = \"{}\", key = \"{}\" }}]\n", chain.display(), key.display());
    let text = rig.configuration("", "").replace("[tls]\n", &certs);
    Ok((rig, chain, key, text))
}

/// The certificate that a listener shows now.
async fn shown(address: SocketAddr) -> Result<Vec<u8>> {
    let mut client = Client::connect(address).await?;
    let hello = client.command("EHLO client.test").await?;
    anyhow::ensure!(hello.contains("STARTTLS"), "{hello}");
    Ok(client.start_tls_as("gw.agency.test", None).await?.1)
}

/// Waits until another certificate than `old` is shown.
async fn changed(address: SocketAddr, old: &[u8]) -> Result<Vec<u8>> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let now = shown(address).await?;
        if now != old {
            return Ok(now);
        }
        anyhow::ensure!(Instant::now() < end, "the old certificate is still shown");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Files that change are shown without a reload; a key that is deleted while mail flows takes neither STARTTLS nor a message away, and
/// neither does a restart without it (L1-1).
#[tokio::test(flavor = "multi_thread")]
async fn l1_1_a_key_that_is_replaced_or_deleted_never_takes_starttls_away() -> Result<()> {
    let (mut rig, chain, key, text) = rig().await?;
    let write = |rig: &Rig| -> Result<Vec<u8>> {
        let identity = rig.identity("gw.agency.test", Flaw::None)?;
        fs::write(&chain, identity.chain_pem())?;
        fs::write(&key, identity.key_pem())?;
        Ok(identity.chain()[0].to_vec())
    };
    let first = write(&rig)?;
    rig.start_with(&text).await?;
    let secure = rig.listener("secure")?;
    assert_eq!(shown(secure).await?, first);

    let second = write(&rig)?;
    let mut seen = changed(secure, &first).await?;
    if seen != second {
        seen = changed(secure, &seen).await?;
    }
    assert_eq!(seen, second, "the new files are shown");

    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load = tokio::spawn({
        let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
        async move {
            while !stop.load(Ordering::Relaxed) {
                let mut client = Client::connect(secure).await?;
                client.command("EHLO client.test").await?;
                let (mut client, _) = client.start_tls().await?;
                client.command("EHLO client.test").await?;
                client.transact("x@remote.test", &["bo@agency.test"], "Subject: s\r\n\r\nx").await?;
                sent.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        }
    });
    fs::remove_file(&key)?;
    rig.event("gateway.warning", |event| event["text"].as_str().is_some_and(|text| text.contains("stays in use"))).await?;
    let (config, _) = Config::parse("test.toml", &text).map_err(|findings| anyhow::anyhow!("{findings:?}"))?;
    let refused = rig.gateway()?.reload(config).expect_err("a reload would lose the key");
    assert!(format!("{refused:#}").contains("key.pem"), "{refused:#}");
    assert_eq!(shown(secure).await?, second, "what was read before is shown on");
    stop.store(true, Ordering::Relaxed);
    load.await??;
    let sent = sent.load(Ordering::Relaxed);
    assert_eq!(rig.inside.wait_for_messages(sent, Duration::from_secs(20)).await.len(), sent, "all that was answered 250 arrived");

    rig.stop().await;
    let restarted = Instant::now();
    rig.start_with(&text).await?;
    let stand_in = shown(rig.listener("secure")?).await?;
    assert!(restarted.elapsed() < Duration::from_secs(5), "STARTTLS is back in {:?}", restarted.elapsed());
    assert_ne!(stand_in, second);
    rig.event("gateway.warning", |event| event["text"].as_str().is_some_and(|text| text.contains("key.pem"))).await?;
    let third = write(&rig)?;
    let mut seen = changed(rig.listener("secure")?, &stand_in).await?;
    if seen != third {
        seen = changed(rig.listener("secure")?, &seen).await?;
    }
    assert_eq!(seen, third, "files that come back are shown");
    Ok(())
}

/// RFC 8461, 3.3: the policy is served over HTTPS at `mta-sts.` and the domain, with a certificate for that name, and nowhere else.
#[tokio::test(flavor = "multi_thread")]
async fn our_mta_sts_policy_is_served() -> Result<()> {
    let mut rig = Rig::world().await?;
    let identity = rig.identity("mta-sts.agency.test", Flaw::None)?;
    let (pem, key) = (rig.state().join("sts.pem"), rig.state().join("sts.key"));
    fs::write(&pem, identity.chain_pem())?;
    fs::write(&key, identity.key_pem())?;
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let certs = format!("[tls]\ncerts = [{{ cert = \"{}\", key = \"{}\" }}]\n", pem.display(), key.display());
    let web = format!("[web]\nhttps = \"127.0.0.1:{port}\"\n[publish]\nmta_sts = \"enforce\"\n");
    let text = rig.configuration("", &web).replace("[tls]\n", &certs);
    rig.start_with(&text).await?;
    let get = |host: &str, path: &str| {
        let (root, path) = (rig.state().join("root.pem"), format!("https://{host}:{port}{path}"));
        let (host, port) = (host.to_owned(), port);
        async move {
            let end = Instant::now() + Duration::from_secs(10);
            loop {
                let got = fetch(&root, &host, port, &path).await;
                if got.is_ok() || Instant::now() > end {
                    return got;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    let policy = get("mta-sts.agency.test", "/.well-known/mta-sts.txt").await?;
    assert!(policy.starts_with("HTTP/1.1 200") && policy.contains("content-type: text/plain"), "{policy}");
    assert!(policy.ends_with("version: STSv1\r\nmode: enforce\r\nmx: gw.agency.test\r\nmax_age: 604800\r\n"), "{policy}");
    let none = get("mta-sts.agency.test", "/").await?;
    assert!(none.starts_with("HTTP/1.1 404"), "{none}");
    Ok(())
}

/// One GET over TLS that verifies the server; the whole answer.
async fn fetch(root: &std::path::Path, host: &str, port: u16, url: &str) -> Result<String> {
    use rustls::pki_types::pem::PemObject;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(root)?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let name = rustls::pki_types::ServerName::try_from(host.to_owned())?;
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let path = url.splitn(4, '/').nth(3).context("a path")?;
    stream.write_all(format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
