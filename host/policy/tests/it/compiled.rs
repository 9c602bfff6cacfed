//! The cache of compiled code as an engine uses it: what is taken from it, and what is said and done when it is not as it was left.

use crate::Log;
use crate::guests::{PASS, policy};
use crate::hostile::message;
use crate::receivers::session;
use secmx_policy::{LoadError, PolicyInfo, PolicySet, PolicySource, Runtime, RuntimeLimits, Workshop};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// An engine with this cache. Without `compiles` everything must come from there.
fn engine(cache: &Path, metered: bool, compiles: bool) -> (Runtime, Log) {
    let log = Log::default();
    let program = (!compiles).then(|| PathBuf::from("/nonexistent/compiler"));
    let workshop = Workshop { cache: Some(cache.to_owned()), program, ..Workshop::default() };
    let limits = RuntimeLimits { concurrent_questions: 4, metered, ..RuntimeLimits::default() };
    (Runtime::start(limits, workshop, log.observer(), Default::default()).expect("an engine"), log)
}

/// An engine whose cache holds the code of this policy with one bit changed. What it says of that is in the log.
pub(crate) fn poisoned(source: &PolicySource) -> (TempDir, Runtime, Log) {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("compiled");
    PolicyInfo::of(&engine(&cache, false, true).0, source).expect("compiles");
    for file in codes(&cache) {
        let mut octets = fs::read(&file).expect("there");
        let middle = octets.len() / 2;
        octets[middle] ^= 0x40;
        fs::write(&file, octets).expect("written");
    }
    let (engine, log) = engine(&cache, false, true);
    (folder, engine, log)
}

fn load(engine: &Runtime) -> Result<PolicyInfo, LoadError> {
    PolicyInfo::of(engine, &policy("kept", "", PASS))
}

/// The files with code.
fn codes(cache: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(cache).expect("readable").map(|entry| entry.expect("readable").path());
    files.filter(|path| path.extension().is_some_and(|ending| ending == "code")).collect()
}

#[tokio::test]
async fn what_was_compiled_once_is_not_compiled_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("compiled");
    let first = std::thread::scope(|scope| scope.spawn(|| load(&engine(&cache, false, true).0)).join()).expect("no panic");
    first.expect("compiles");
    let (again, log) = engine(&cache, false, false);
    std::thread::scope(|scope| scope.spawn(|| load(&again)).join()).expect("no panic").expect("from the cache");
    assert!(log.lines().is_empty(), "{:?}", log.lines());
    // Another engine is another name.
    let metered = std::thread::scope(|scope| scope.spawn(|| load(&engine(&cache, true, false).0)).join()).expect("no panic");
    let error = metered.expect_err("there is no code for an engine that counts").to_string();
    assert!(error.starts_with("policy kept: P210 compiling it was stopped: the compiling process /nonexistent/compiler cannot"), "{error}");
}

/// S8, page "reliability", decision 5: a poisoned, cut or foreign file is refused, said, and compiled again; code from elsewhere never runs.
#[tokio::test(flavor = "multi_thread")]
async fn s8_a_poisoned_cache_is_refused_said_and_mended() {
    let folder = tempfile::tempdir().expect("a folder");
    let (cache, foreign) = (folder.path().join("compiled"), folder.path().join("foreign"));
    let blocking = |cache: &Path| tokio::task::block_in_place(|| load(&engine(cache, false, true).0)).expect("compiles");
    blocking(&cache);
    blocking(&foreign);
    let file = codes(&cache).remove(0);
    let good = fs::read(&file).expect("there");
    let mut poisoned = good.clone();
    let middle = poisoned.len() / 2;
    poisoned[middle] ^= 0x40;
    let foreign = fs::read(codes(&foreign).remove(0)).expect("there");
    assert_ne!(foreign, good, "each cache has a key of its own");
    for (what, octets) in [("poisoned", &poisoned[..]), ("cut", &good[..middle]), ("foreign", &foreign[..]), ("empty", &[])] {
        fs::write(&file, octets).expect("written");
        let (without, _) = engine(&cache, false, false);
        assert!(tokio::task::block_in_place(|| load(&without)).is_err(), "{what}: it is not used");
        let (with, log) = engine(&cache, false, true);
        let set = tokio::task::block_in_place(|| PolicySet::load(&with, vec![policy("kept", "", PASS)])).expect("compiled again");
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        let said = format!("compiled code in the cache is not used, {name}: it is");
        assert!(log.lines().iter().any(|line| line.contains(&said)), "{what}: {:?}", log.lines());
        assert!(set.content(&session(), message()).await.is_ok());
        assert_eq!(fs::read(&file).expect("there").len(), good.len(), "{what}: mended");
        tokio::task::block_in_place(|| load(&engine(&cache, false, false).0)).expect("from the cache again");
    }
}

#[test]
fn a_cache_that_others_can_write_to_is_not_used_and_policies_load_all_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("compiled");
    fs::create_dir(&cache).expect("made");
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o770)).expect("set");
    let (engine, log) = engine(&cache, false, true);
    load(&engine).expect("loads");
    assert!(log.lines().iter().any(|line| line.contains("is not used") && line.contains("this user's alone")), "{:?}", log.lines());
    assert!(codes(&cache).is_empty());
}
