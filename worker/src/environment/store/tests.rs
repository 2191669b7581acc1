use super::*;

fn record(bytes: u64) -> Record {
    Record {
        requirements: vec!["six".to_owned()],
        installed: vec!["six==1.16.0".to_owned()],
        shadowed: Vec::new(),
        python: "3.11.7".to_owned(),
        executable: "/usr/bin/python3".into(),
        site_packages: "lib/python3.11/site-packages".into(),
        build_s: 0.1,
        bytes,
    }
}

async fn build(store: &Store, key: &str, bytes: u64) -> Environment {
    let Entry::Vacant(lock) = store.open_or_lock(key).await.unwrap() else { panic!("it is there") };
    let slot = store.slot("test").unwrap();
    fs::write(slot.directory.join("six.py"), "").unwrap();
    store.publish(key, slot, record(bytes), lock).unwrap()
}

#[tokio::test]
async fn an_environment_is_there_only_when_it_is_whole() {
    let cache = tempfile::tempdir().unwrap();
    let store = Store::new(cache.path());
    assert!(store.open("k").unwrap().is_none());
    let Entry::Vacant(lock) = store.open_or_lock("k").await.unwrap() else { panic!("it is there") };
    let slot = store.slot("test").unwrap();
    fs::write(slot.directory.join("six.py"), "").unwrap();
    assert!(store.open("k").unwrap().is_none());
    drop((lock, slot)); // as if it had been killed
    let environment = build(&store, "k", 1).await;
    assert_eq!(store.open("k").unwrap().unwrap().record, environment.record);
}

#[tokio::test]
async fn whoever_waits_for_an_environment_gets_it_while_its_builder_uses_it() {
    let cache = tempfile::tempdir().unwrap();
    let store = Store::new(cache.path());
    let Entry::Vacant(lock) = store.open_or_lock("k").await.unwrap() else { panic!("it is there") };
    let waiting = store.open_or_lock("k");
    let building = async {
        tokio::time::sleep(LOCK_PAUSE).await;
        let slot = store.slot("test").unwrap();
        store.publish("k", slot, record(1), lock).unwrap()
    };
    let (entry, _in_use) = tokio::join!(waiting, building);
    assert!(matches!(entry.unwrap(), Entry::Environment { waited: true, .. }));
}

#[tokio::test]
async fn the_least_recently_used_goes_but_never_one_in_use() {
    let cache = tempfile::tempdir().unwrap();
    let store = Store::new(cache.path());
    let held = build(&store, "first", 10).await;
    drop(build(&store, "second", 10).await);
    drop(build(&store, "third", 10).await);
    let removed = store.prune(20);
    assert_eq!(removed.iter().map(|kept| kept.key.as_str()).collect::<Vec<_>>(), ["second"]);
    drop(held);
    assert_eq!(store.prune(0).len(), 2);
    assert_eq!(fs::read_dir(cache.path().join("environments")).unwrap().count(), 1, ".building is left");
}

#[test]
fn what_killed_workers_left_goes_with_the_next_pruning() {
    let cache = tempfile::tempdir().unwrap();
    let store = Store::new(cache.path());
    let building = store.slot("test").unwrap();
    fs::write(building.directory.join("half"), "").unwrap();
    let debris = [store.path("removed-halfway"), cache.path().join("environments/.building/gone-0")];
    debris.iter().for_each(|path| fs::create_dir_all(path.join("lib")).unwrap());
    store.prune(u64::MAX);
    assert!(debris.iter().all(|path| !path.exists()));
    assert!(building.directory.join("half").exists(), "it is being built");
}

#[tokio::test]
async fn slots_are_cleared_and_not_shared() {
    let cache = tempfile::tempdir().unwrap();
    let store = Store::new(cache.path());
    let first = store.slot("test").unwrap();
    let second = store.slot("test").unwrap();
    assert_ne!(first.directory, second.directory);
    fs::write(first.directory.join("debris"), "").unwrap();
    let directory = first.directory.clone();
    drop(first);
    let again = store.slot("test").unwrap();
    assert_eq!(again.directory, directory);
    assert_eq!(fs::read_dir(directory).unwrap().count(), 0);
}
