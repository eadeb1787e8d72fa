//! What is seen, with real files.

use std::os::unix::fs::symlink;
use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::cli::verbs::watching::rules::Rule;
use crate::plan::model::{Reaction, WatchPlan};

async fn open_at(dir: &Path, path: &str) -> Eyes {
    let plan = WatchPlan {
        path: path.into(),
        ignore: vec![],
        include: vec![],
        reaction: Reaction::Restart,
    };
    let (rule, _) = Rule::new((0, 0), &plan, dir);
    open_for(dir, rule).await
}

async fn open_for(dir: &Path, rule: Rule) -> Eyes {
    let rules = Rules::new(vec![rule], vec![dir.join(".env")]);
    let mut eyes = Eyes::open(rules, dir.to_path_buf()).unwrap();
    while !matches!(eyes.next().await, Some(Sight::Ready)) {}
    eyes
}

/// Waits for a change of `name`. What else is seen must be among `others`.
async fn await_change(eyes: &mut Eyes, name: &str, others: &[&str]) {
    let seen = timeout(Duration::from_secs(10), async {
        loop {
            let Some(Sight::Changed(changed)) = eyes.next().await else {
                panic!("no change");
            };
            let ends = |path: &PathBuf, name: &str| path.ends_with(name);
            for (_, path) in &changed {
                let is_known = ends(path, name) || others.iter().any(|it| ends(path, it));
                assert!(is_known, "{path:?}");
            }
            if changed.iter().any(|(_, path)| ends(path, name)) {
                return;
            }
        }
    });
    seen.await.expect(name);
}

#[tokio::test]
async fn writes_renames_removals_and_new_directories_are_seen() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    fs_err::create_dir_all(at("src/.git")).unwrap();
    fs_err::write(at("src/a"), "1").unwrap();
    let mut eyes = open_at(dir.path(), "src").await;
    fs_err::write(at(".env"), "never").unwrap();
    fs_err::write(at("src/.git/HEAD"), "never").unwrap();
    fs_err::write(at("src/4913"), "never").unwrap();
    fs_err::write(at("src/a"), "2").unwrap();
    await_change(&mut eyes, "src/a", &[]).await;
    // As editors save: a file beside it takes its name.
    fs_err::write(at("src/a.new~"), "3").unwrap();
    fs_err::rename(at("src/a.new~"), at("src/a")).unwrap();
    await_change(&mut eyes, "src/a", &[]).await;
    // Read, or made executable: nothing to see.
    fs_err::read(at("src/a")).unwrap();
    fs_err::create_dir_all(at("src/x/y")).unwrap();
    fs_err::write(at("src/x/y/b"), "1").unwrap();
    await_change(&mut eyes, "x/y/b", &[]).await;
    fs_err::write(at("src/x/y/b"), "2").unwrap();
    await_change(&mut eyes, "x/y/b", &[]).await;
    fs_err::rename(at("src/x"), at("src/z")).unwrap();
    await_change(&mut eyes, "z/y/b", &["src/x", "x/y/b"]).await;
    fs_err::write(at("src/z/y/b"), "3").unwrap();
    await_change(&mut eyes, "z/y/b", &[]).await;
    fs_err::remove_dir_all(at("src/z")).unwrap();
    await_change(&mut eyes, "src/z", &["z/y/b", "z/y"]).await;
}

#[tokio::test]
async fn a_path_may_be_a_file_or_come_later() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    fs_err::write(at("a.conf"), "1").unwrap();
    let mut eyes = open_at(dir.path(), "a.conf").await;
    fs_err::write(at("b.conf"), "never").unwrap();
    fs_err::write(at("new"), "2").unwrap();
    fs_err::rename(at("new"), at("a.conf")).unwrap();
    await_change(&mut eyes, "a.conf", &[]).await;
    let mut eyes = open_at(dir.path(), "src").await;
    fs_err::create_dir(at("src")).unwrap();
    fs_err::write(at("src/a"), "1").unwrap();
    await_change(&mut eyes, "src/a", &["src"]).await;
}

/// A new name in a directory that is not seen before the last change: what came before it is.
async fn await_all(eyes: &mut Eyes, last: &str) -> Vec<PathBuf> {
    let seen = timeout(Duration::from_secs(10), async {
        let mut seen = Vec::new();
        while !seen.iter().any(|path: &PathBuf| path.ends_with(last)) {
            if let Some(Sight::Changed(changed)) = eyes.next().await {
                seen.extend(changed.into_iter().map(|(_, path)| path));
            }
        }
        seen
    });
    seen.await.expect(last)
}

#[tokio::test]
async fn a_path_is_seen_again_whatever_became_of_the_directories_above_it() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    let mut eyes = open_at(dir.path(), "a/b/src").await;
    for round in 0..4 {
        fs_err::create_dir_all(at("a/b/src")).unwrap();
        fs_err::write(at(&format!("a/b/src/{round}")), "1").unwrap();
        await_all(&mut eyes, &format!("src/{round}")).await;
        fs_err::write(at(&format!("a/b/src/{round}")), "2").unwrap();
        await_change(&mut eyes, &format!("src/{round}"), &[]).await;
        match round % 2 {
            0 => fs_err::remove_dir_all(at("a")).unwrap(),
            _ => fs_err::rename(at("a"), at(&format!("away{round}"))).unwrap(),
        }
        await_all(&mut eyes, "b/src").await;
    }
    fs_err::write(at("away1/b/src/1"), "never").unwrap();
    let mut eyes = open_at(dir.path(), "c/a.conf").await;
    for text in ["1", "2"] {
        fs_err::create_dir_all(at("c")).unwrap();
        fs_err::write(at("c/a.conf"), text).unwrap();
        await_change(&mut eyes, "c/a.conf", &[]).await;
        fs_err::remove_dir_all(at("c")).unwrap();
        await_change(&mut eyes, "c/a.conf", &[]).await;
    }
}

#[tokio::test]
async fn a_link_is_watched_and_what_it_leads_to_now() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    for release in ["1", "2"] {
        fs_err::create_dir_all(at("releases").join(release)).unwrap();
        fs_err::write(at("releases").join(release).join("app"), release).unwrap();
    }
    symlink("releases/1", at("current")).unwrap();
    let mut eyes = open_at(dir.path(), "current").await;
    fs_err::write(at("releases/2/app"), "never").unwrap();
    fs_err::write(at("releases/1/app"), "1").unwrap();
    await_change(&mut eyes, "current/app", &[]).await;
    // As `ln -sfn` does it.
    symlink("releases/2", at("new")).unwrap();
    fs_err::rename(at("new"), at("current")).unwrap();
    await_all(&mut eyes, "current/app").await;
    fs_err::write(at("releases/1/app"), "never").unwrap();
    fs_err::write(at("releases/2/late"), "2").unwrap();
    await_change(&mut eyes, "current/late", &["current", "current/app"]).await;
    fs_err::remove_file(at("current")).unwrap();
    await_change(&mut eyes, "current", &["current/late"]).await;
    // A file, and the file behind it.
    fs_err::write(at("real"), "1").unwrap();
    symlink(at("real"), at("link.conf")).unwrap();
    let mut eyes = open_at(dir.path(), "link.conf").await;
    fs_err::write(at("real"), "2").unwrap();
    await_change(&mut eyes, "link.conf", &[]).await;
    fs_err::rename(at("releases/1/app"), at("real")).unwrap();
    await_change(&mut eyes, "link.conf", &[]).await;
}

#[tokio::test]
async fn where_names_are_included_no_directory_counts() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    fs_err::create_dir_all(at("src/docs")).unwrap();
    let plan = WatchPlan {
        path: "src".into(),
        ignore: vec![],
        include: vec!["*.rs".to_owned()],
        reaction: Reaction::Restart,
    };
    let (rule, _) = Rule::new((0, 0), &plan, dir.path());
    let mut eyes = open_for(dir.path(), rule).await;
    fs_err::rename(at("src/docs"), at("src/more")).unwrap();
    fs_err::create_dir(at("src/target")).unwrap();
    fs_err::remove_dir_all(at("src")).unwrap();
    fs_err::create_dir_all(at("src/x")).unwrap();
    fs_err::write(at("src/x/a.rs"), "1").unwrap();
    await_change(&mut eyes, "src/x/a.rs", &[]).await;
}

#[tokio::test]
async fn other_rules_miss_nothing_that_both_watch() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    for name in ["a", "b", "c"] {
        fs_err::create_dir(at(name)).unwrap();
    }
    let rules = |paths: [&str; 2]| {
        let rules = paths.map(|path| {
            let plan = WatchPlan {
                path: path.into(),
                ignore: vec![],
                include: vec![],
                reaction: Reaction::Restart,
            };
            Rule::new((0, 0), &plan, dir.path()).0
        });
        Rules::new(rules.into(), vec![])
    };
    let mut eyes = Eyes::open(rules(["a", "b"]), dir.path().to_path_buf()).unwrap();
    assert_eq!(eyes.next().await, Some(Sight::Ready));
    eyes.look_by(rules(["b", "c"]));
    fs_err::write(at("b/1"), "").unwrap();
    let mut is_ready = false;
    let mut is_seen = false;
    while !(is_ready && is_seen) {
        match eyes.next().await.unwrap() {
            Sight::Ready => is_ready = true,
            Sight::Changed(changed) => is_seen |= changed.iter().any(|(_, it)| *it == at("b/1")),
            other => panic!("{other:?}"),
        }
    }
    fs_err::write(at("a/1"), "never").unwrap();
    fs_err::write(at("c/1"), "").unwrap();
    await_change(&mut eyes, "c/1", &["b/1"]).await;
}

#[tokio::test]
async fn what_git_does_not_ignore_any_more_is_watched() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    fs_err::create_dir_all(at("src/gen")).unwrap();
    fs_err::write(at(".gitignore"), "gen/\n").unwrap();
    let mut eyes = open_at(dir.path(), "src").await;
    fs_err::write(at("src/gen/a"), "never").unwrap();
    fs_err::write(at(".gitignore"), "").unwrap();
    fs_err::write(at("src/seen"), "").unwrap();
    await_change(&mut eyes, "src/seen", &[]).await;
    fs_err::write(at("src/gen/a"), "1").unwrap();
    await_change(&mut eyes, "gen/a", &["src/seen"]).await;
}

#[test]
fn limits_are_named_with_what_raises_them() {
    let named = |error| advice(error).unwrap_or_default();
    assert!(named(Errno::ENOSPC).contains("sysctl fs.inotify.max_user_watches="));
    assert!(named(Errno::EMFILE).contains("sysctl fs.inotify.max_user_instances="));
    assert_eq!(advice(Errno::EACCES), None);
}

/// What looks by rules over these paths, on this thread.
fn looking(dir: &Path, paths: &[&str]) -> (Looking, Home) {
    let rules = paths.iter().enumerate().map(|(item, path)| {
        let plan = WatchPlan {
            path: path.into(),
            ignore: vec![],
            include: vec![],
            reaction: Reaction::Restart,
        };
        Rule::new((0, item), &plan, dir).0
    });
    let (sight_tx, _) = unbounded_channel();
    let mut looking = Looking {
        inotify: Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).unwrap(),
        rules: Rules::default(),
        watches: Watches::default(),
        sight_tx,
        is_full: false,
    };
    let home = Home::of(dir.to_path_buf());
    looking.begin(Rules::new(rules.collect(), vec![]), &home);
    work::take();
    (looking, home)
}

impl Looking {
    /// Takes in all that has happened.
    fn catch_up(&mut self, home: &Home) -> HashSet<(usize, PathBuf)> {
        let mut changed = HashSet::new();
        while let Ok(events) = self.inotify.read_events() {
            changed.extend(self.take_in(&events, home));
        }
        changed
    }
}

#[test]
fn a_path_of_many_rules_that_is_replaced_is_looked_through_once() {
    const RULES: usize = 20;
    const FILES: usize = 30;
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    fs_err::create_dir(at("src")).unwrap();
    fs_err::create_dir(at("next")).unwrap();
    for file in 0..FILES {
        fs_err::write(at(&format!("next/{file}")), "1").unwrap();
    }
    let (mut looking, home) = looking(dir.path(), &["src"; RULES]);
    fs_err::rename(at("src"), at("before")).unwrap();
    looking.catch_up(&home);
    fs_err::rename(at("next"), at("src")).unwrap();
    let changed = looking.catch_up(&home);
    assert_eq!(changed.len(), RULES * FILES);
    // Each file is held against each rule as one on the way, and as what has come.
    let work = work::take();
    assert!(work <= 2 * RULES * (FILES + 2), "{work}");
}

#[test]
fn a_tree_that_is_removed_or_moved_costs_no_more_than_its_directories() {
    const DIRS: usize = 100;
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    let make = || {
        for sub in 0..DIRS {
            fs_err::create_dir_all(at(&format!("src/tree/{sub}"))).unwrap();
        }
    };
    make();
    let (mut looking, home) = looking(dir.path(), &["src"]);
    let others = looking.watches.len() - DIRS - 1;
    fs_err::remove_dir_all(at("src/tree")).unwrap();
    let changed = looking.catch_up(&home);
    assert!(changed.contains(&(0, at("src/tree"))));
    assert_eq!(looking.watches.len(), others);
    let work = work::take();
    assert!(work <= 2 * DIRS, "{work}");
    make();
    looking.catch_up(&home);
    assert_eq!(looking.watches.len(), others + DIRS + 1);
    work::take();
    fs_err::rename(at("src/tree"), at("tree")).unwrap();
    looking.catch_up(&home);
    assert_eq!(looking.watches.len(), others);
    let work = work::take();
    assert!(work <= 2 * DIRS, "{work}");
}
