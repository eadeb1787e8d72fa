//! What a plan says of a process, made numbers before anything is forked, and whether we may do it.
//!
//! Users and groups are read as an engine reads them: `user` alone brings all groups of that user,
//! `user:group` brings that group and no other, and a number that nobody has is in group 0.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{
    Gid, Group, Uid, User, fchown, getegid, geteuid, getgrouplist, getgroups, setfsgid, setfsuid,
};

use super::process::{Identity, Rights, hard_limit};
use super::reason::{RightsError, StartError};
use super::runner::spawn_error;
use crate::plan::model::{Environment, ProcessPlan, UlimitPlan, UnitPlan};

/// What a process is given, in numbers.
#[derive(Debug, Default)]
pub(crate) struct Granted {
    pub(crate) rights: Rights,
    /// Its user, if that is another one than ours or was named.
    pub(crate) account: Option<Account>,
}

/// A user as its own programs know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// Nobody has the number if there is none.
    pub(crate) name: Option<String>,
    pub(crate) home: PathBuf,
}

impl Granted {
    /// What a unit's processes are given.
    pub(crate) fn to(unit: &UnitPlan) -> Result<Self, StartError> {
        let (granted, errors) = grant(&unit.process);
        match errors.into_iter().next() {
            Some(error) => Err(StartError::Rights { error }),
            None => Ok(granted),
        }
    }

    /// Makes pipes those of the user whose process writes into them: `/dev/stderr` is opened anew by its
    /// path.
    pub(crate) fn give_pipes<'p>(&self, pipes: impl IntoIterator<Item = BorrowedFd<'p>>) {
        let Some(identity) = &self.rights.identity else {
            return;
        };
        let (uid, gid) = (identity.uid.into(), identity.gid.into());
        for pipe in pipes {
            // Whoever only writes to what is open does not notice.
            let _ = fchown(pipe, Some(uid), Some(gid));
        }
    }

    /// Lets an environment say whose it is, unless the files say otherwise.
    pub(crate) fn correct<'e>(
        &'e self,
        settled: &Environment,
        environment: &mut Vec<(&'e OsStr, &'e OsStr)>,
    ) {
        let account = self.account.iter().flat_map(Account::variables);
        for (key, value) in account.filter(|(key, _)| !settled.is_settled(key)) {
            environment.retain(|(other, _)| *other != key);
            environment.extend(value.map(|value| (OsStr::new(key), value)));
        }
    }
}

impl Account {
    /// What its environment says of it; nothing for what it must not say.
    fn variables(&self) -> [(&'static str, Option<&OsStr>); 3] {
        let name = self.name.as_ref().map(OsStr::new);
        let home = Some(self.home.as_os_str());
        [("HOME", home), ("USER", name), ("LOGNAME", name)]
    }
}

/// Gives this process what those of a unit are given, before it executes another program. What comes back
/// is the unit's environment, as its user knows it.
pub fn take_on(unit: &UnitPlan) -> Result<Vec<(OsString, OsString)>, StartError> {
    let granted = Granted::to(unit)?;
    let mut environment = unit.environment.entries();
    granted.correct(&unit.environment, &mut environment);
    let taken = granted.rights.take();
    taken.map_err(|error| spawn_error(&error, unit, &unit.directory))?;
    let entries = environment.into_iter();
    Ok(entries
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect())
}

/// What is wrong with a plan's rights, here and now.
pub fn check(plan: &ProcessPlan) -> Vec<RightsError> {
    grant(plan).1
}

/// Whether what a unit is given below `project_dir` lies where its user does not get.
pub fn check_way(unit: &UnitPlan, project_dir: &Path) -> Option<RightsError> {
    let is_given = unit.belongings.paths().chain(unit.notify_socket());
    let mut below = is_given.filter(|path| path.starts_with(project_dir));
    let identity = grant(&unit.process).0.rights.identity?;
    below.next()?;
    // For the kernel's look at files this thread is that user for a moment, without the rights of root
    // (setfsuid(2)).
    let own = (setfsgid(identity.gid.into()), setfsuid(identity.uid.into()));
    let is_closed = |dir: &&Path| {
        let here = std::fs::metadata(dir.join("."));
        here.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    let closed = project_dir.ancestors().filter(is_closed).last();
    setfsuid(own.1);
    setfsgid(own.0);
    Some(RightsError::Closed {
        user: unit.process.user.clone().unwrap_or_default(),
        dir: closed?.display().to_string(),
    })
}

/// Settles what a process is given, and says what it cannot be.
fn grant(plan: &ProcessPlan) -> (Granted, Vec<RightsError>) {
    let mut errors = Vec::new();
    let may_all = geteuid().is_root();
    let (identity, account) = match identity(plan, may_all) {
        Ok(outcome) => outcome,
        Err(error) => {
            errors.push(error);
            (None, None)
        }
    };
    if may_all {
        errors.extend(plan.ulimits.iter().filter_map(too_many_files));
    } else {
        errors.extend(plan.nice.and_then(denied_nice));
        errors.extend(plan.oom_score_adj.and_then(denied_score));
        errors.extend(plan.ulimits.iter().filter_map(denied_limit));
    }
    let limits = plan.ulimits.iter();
    let rights = Rights {
        limits: limits
            .map(|limit| (limit.resource, limit.soft, limit.hard))
            .collect(),
        nice: plan.nice,
        oom_score_adj: plan.oom_score_adj,
        umask: plan.umask,
        identity,
    };
    (Granted { rights, account }, errors)
}

type Who = (Option<Identity>, Option<Account>);

/// Who the process becomes; nobody where that is who we are.
fn identity(plan: &ProcessPlan, may_all: bool) -> Result<Who, RightsError> {
    if plan.user.is_none() && plan.group_add.is_empty() {
        return Ok((None, None));
    }
    let own_groups = || {
        let groups = getgroups().unwrap_or_default();
        groups.into_iter().map(Gid::as_raw).collect::<Vec<u32>>()
    };
    let (uid, gid, mut groups, account) = match &plan.user {
        None => (geteuid().as_raw(), getegid().as_raw(), own_groups(), None),
        Some(text) => {
            let (user, group) = match text.split_once(':') {
                Some((user, group)) => (user, Some(group)),
                None => (text.as_str(), None),
            };
            let (uid, found) = user_of(user)?;
            let usual = found.as_ref().map_or(0, |user| user.gid.as_raw());
            let gid = group.map_or(Ok(usual), group_of)?;
            let groups = match (&found, group) {
                (Some(user), None) => groups_of(user),
                (_, _) => Vec::new(),
            };
            let account = Account {
                home: found.as_ref().map_or("/".into(), |user| user.dir.clone()),
                name: found.map(|user| user.name),
            };
            (uid, gid, groups, Some(account))
        }
    };
    for group in &plan.group_add {
        groups.push(group_of(group)?);
    }
    groups.sort_unstable();
    groups.dedup();
    if may_all {
        return Ok((Some(Identity { uid, gid, groups }), account));
    }
    if uid != geteuid().as_raw() || gid != getegid().as_raw() {
        let user = plan.user.clone().unwrap_or_default();
        return Err(needs_root("user", &user, &name_of_own()));
    }
    let own = own_groups();
    let mut added = plan.group_add.iter();
    match added.find(|group| !group_of(group).is_ok_and(|gid| own.contains(&gid))) {
        Some(_) => {
            let groups = plan.group_add.join(", ");
            Err(needs_root("group_add", &groups, &name_of_own()))
        }
        None => Ok((None, None)),
    }
}

/// The number of a user, and what the machine knows of it.
fn user_of(text: &str) -> Result<(u32, Option<User>), RightsError> {
    let number = text.parse::<u32>().ok();
    let found = match number {
        Some(number) => User::from_uid(Uid::from_raw(number)),
        None => User::from_name(text),
    };
    let found = found.ok().flatten();
    let uid = number.or(found.as_ref().map(|user| user.uid.as_raw()));
    let nobody = || RightsError::NoUser {
        name: text.to_owned(),
    };
    Ok((uid.ok_or_else(nobody)?, found))
}

fn group_of(text: &str) -> Result<u32, RightsError> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let found = Group::from_name(text).ok().flatten();
    let none = || RightsError::NoGroup {
        name: text.to_owned(),
    };
    Ok(found.ok_or_else(none)?.gid.as_raw())
}

/// All groups of a user but the first.
fn groups_of(user: &User) -> Vec<u32> {
    let name = std::ffi::CString::new(user.name.as_str()).unwrap_or_default();
    let groups = getgrouplist(&name, user.gid).unwrap_or_default();
    let others = groups.into_iter().filter(|&group| group != user.gid);
    others.map(Gid::as_raw).collect()
}

fn name_of_own() -> String {
    let user = User::from_uid(geteuid()).ok().flatten();
    user.map_or_else(|| format!("uid {}", geteuid()), |user| user.name)
}

fn denied_nice(nice: i32) -> Option<RightsError> {
    // A limit says how far anybody may go: 20 less the lowest value (getrlimit(2)).
    let limit = getrlimit(Resource::RLIMIT_NICE).map_or(0, |(soft, _)| soft.min(40));
    let present = rustix::process::getpriority_process(None).unwrap_or(0);
    let least = 20 - i32::try_from(limit).unwrap_or(0);
    (nice < present && nice < least).then(|| needs_root("nice", &nice, &present))
}

fn denied_score(score: i32) -> Option<RightsError> {
    let text = fs_err::read_to_string("/proc/self/oom_score_adj").ok()?;
    let present: i32 = text.trim().parse().ok()?;
    (score < present).then(|| needs_root("oom_score_adj", &score, &present))
}

fn denied_limit(limit: &UlimitPlan) -> Option<RightsError> {
    let present = hard_limit(limit.resource)?;
    (limit.hard > present).then(|| {
        let key = format!("ulimits.{}", limit.name());
        needs_root(&key, &shown_limit(limit.hard), &shown_limit(present))
    })
}

/// Of open files there is a most for everybody (getrlimit(2)).
fn too_many_files(limit: &UlimitPlan) -> Option<RightsError> {
    let is_files = limit.resource == u32::try_from(Resource::RLIMIT_NOFILE as i64).ok()?;
    let text = fs_err::read_to_string("/proc/sys/fs/nr_open").ok()?;
    let most: u64 = text.trim().parse().ok()?;
    (is_files && limit.hard > most).then(|| RightsError::TooMuch {
        key: format!("ulimits.{}", limit.name()),
        value: shown_limit(limit.hard),
        most,
        setting: "fs.nr_open".to_owned(),
    })
}

fn shown_limit(limit: u64) -> String {
    match limit {
        libc::RLIM_INFINITY => "unlimited".to_owned(),
        limit => limit.to_string(),
    }
}

fn needs_root(key: &str, value: &impl ToString, present: &impl ToString) -> RightsError {
    RightsError::NeedsRoot {
        key: key.to_owned(),
        value: value.to_string(),
        present: present.to_string(),
    }
}
