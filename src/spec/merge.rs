//! One tree of two: the rules by which a later file is laid over an earlier one, and a service over
//! the one that it extends. They are Compose's.
//!
//! Maps merge key by key, lists are appended, everything else is replaced; [`rule`] has the
//! exceptions. Nothing is judged here: where a map meets a text, the later one stays, and `visit`
//! says what is wrong with it.

use std::collections::HashMap;
use std::rc::Rc;

use super::tree::{Entry, Kind, Mark, Node};

/// How two values of one key become one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Maps merge, lists are appended, anything else is replaced.
    Usual,
    /// The later one counts.
    Replace,
    /// A map, or a list that stands for one: by key, also where one is a list.
    Keyed,
    /// A list, or one value that stands for a list of itself: appended, whatever the two are.
    List,
    /// A list in which each value, or what is put at one place, stands once.
    Unique,
    /// A list of ports, in which each stands once however it is written.
    Ports,
    /// `logging`: the same driver, or the later one counts.
    Logging,
    /// `healthcheck`: another way to ask takes the place of the earlier one.
    Healthcheck,
    /// A hook or a list of them: lists of hooks are appended, the words of one command are replaced.
    Hooks,
}

/// The ways to ask of a health check.
const WAYS: [&str; 5] = ["test", "http", "tcp", "log", "notify"];

/// The rule for the value at a path.
fn rule(path: &[&str]) -> Rule {
    match path {
        ["services", _, key] => match *key {
            "command" | "entrypoint" | "schedule" => Rule::Replace,
            "environment" | "labels" | "annotations" | "depends_on" | "sysctls" | "networks"
            | "models" | "extra_hosts" => Rule::Keyed,
            "env_file" | "label_file" | "watch" | "dns" | "dns_opt" | "dns_search" | "tmpfs"
            | "success_exit_codes" => Rule::List,
            "profiles" | "expose" | "cap_add" | "cap_drop" | "links" | "group_add" | "configs"
            | "secrets" => Rule::Unique,
            "ports" => Rule::Ports,
            "logging" => Rule::Logging,
            "healthcheck" => Rule::Healthcheck,
            "pre_start" | "post_start" | "pre_stop" => Rule::Hooks,
            _ => Rule::Usual,
        },
        ["services", _, key, below] => match (*key, *below) {
            ("ulimits", _) | ("healthcheck", "test" | "http") => Rule::Replace,
            // Nothing is a value here.
            ("environment" | "labels" | "annotations" | "sysctls", _) => Rule::Replace,
            ("deploy", "labels") => Rule::Keyed,
            _ => Rule::Usual,
        },
        ["shell"] | ["ports", "range"] | ["environment", _] | ["dotenv", "vars", _] => {
            Rule::Replace
        }
        ["environment"] | ["dotenv", "vars"] => Rule::Keyed,
        ["env_file"] | ["ports", "exclude"] => Rule::List,
        _ => Rule::Usual,
    }
}

/// Lays `over` over `base`; `path` is where they stand.
pub(super) fn merge<'s>(base: &Rc<Node<'s>>, over: &Rc<Node<'s>>, path: &[&str]) -> Rc<Node<'s>> {
    // What an earlier file takes away says nothing of what a later one writes.
    if over.mark != Mark::None || base.mark == Mark::Reset {
        return Rc::clone(over);
    }
    let rule = rule(path);
    let are_words = |node: &Node<'s>| rule == Rule::Hooks && node.is_list_of_texts();
    if rule == Rule::Replace || base.is_null() || are_words(base) || are_words(over) {
        return Rc::clone(over);
    }
    if over.is_null() {
        return Rc::clone(base);
    }
    match (&base.kind, &over.kind) {
        (Kind::Mapping(_), Kind::Mapping(_)) if over.under.is_none() => match rule {
            Rule::Logging if differ(base, over, "driver") => Rc::clone(over),
            Rule::Healthcheck if WAYS.iter().any(|way| over.get(way).is_some()) => {
                let is_kept = |entry: &&Entry<'s>| {
                    let key = entry.key.text().unwrap_or_default();
                    !WAYS.contains(&key) || over.get(key).is_some()
                };
                let kept = base.entries().iter().filter(is_kept);
                mapping(
                    &base.with(Kind::Mapping(kept.cloned().collect())),
                    over,
                    path,
                )
            }
            Rule::Usual
            | Rule::Replace
            | Rule::Keyed
            | Rule::List
            | Rule::Unique
            | Rule::Ports
            | Rule::Logging
            | Rule::Healthcheck
            | Rule::Hooks => mapping(base, over, path),
        },
        _ if rule == Rule::Keyed => beneath(base, over),
        (Kind::Sequence(_), Kind::Sequence(_) | Kind::Scalar { .. }) => list(base, over, rule),
        _ if rule == Rule::List => list(base, over, rule),
        (Kind::Scalar { .. } | Kind::Mapping(_) | Kind::Sequence(_), _) => Rc::clone(over),
    }
}

fn differ(base: &Node<'_>, over: &Node<'_>, key: &str) -> bool {
    let text = |node: &Node<'_>| Some(node.get(key)?.text()?.to_owned());
    text(base)
        .zip(text(over))
        .is_some_and(|(base, over)| base != over)
}

fn mapping<'s>(base: &Rc<Node<'s>>, over: &Rc<Node<'s>>, path: &[&str]) -> Rc<Node<'s>> {
    let mut entries = base.entries().to_vec();
    let places: HashMap<String, usize> = (entries.iter().enumerate())
        .filter_map(|(place, entry)| Some((entry.key.text()?.to_owned(), place)))
        .collect();
    for later in over.entries() {
        let text = later.key.text();
        let Some(&place) = text.and_then(|text| places.get(text)) else {
            entries.push(later.clone());
            continue;
        };
        let earlier = &entries[place];
        let below = [path, &[text.unwrap_or_default()]].concat();
        let value = merge(&earlier.value, &later.value, &below);
        // What is still made of the earlier value is known by its key, too.
        let key = match &value.kind {
            Kind::Mapping(_) if !Rc::ptr_eq(&value, &later.value) => &earlier.key,
            _ if Rc::ptr_eq(&value, &earlier.value) => &earlier.key,
            Kind::Mapping(_) | Kind::Scalar { .. } | Kind::Sequence(_) => &later.key,
        };
        entries[place] = Entry {
            key: Rc::clone(key),
            value,
        };
    }
    base.with(Kind::Mapping(entries))
}

/// `over`, with `base` under everything that is under it already.
fn beneath<'s>(base: &Rc<Node<'s>>, over: &Rc<Node<'s>>) -> Rc<Node<'s>> {
    let mut node = Node::clone(over);
    let under = match &over.under {
        Some(under) => beneath(base, under),
        None => Rc::clone(base),
    };
    node.has_marks |= under.has_marks;
    node.expanded += under.expanded;
    node.height = node.height.max(under.height);
    node.under = Some(under);
    Rc::new(node)
}

fn list<'s>(base: &Rc<Node<'s>>, over: &Rc<Node<'s>>, rule: Rule) -> Rc<Node<'s>> {
    let items = |node: &Rc<Node<'s>>| match &node.kind {
        Kind::Sequence(items) => items.clone(),
        Kind::Scalar { .. } | Kind::Mapping(_) => vec![Rc::clone(node)],
    };
    let mut all = items(base);
    let name = |node: &Node<'s>| match rule {
        Rule::Unique => {
            let target = || node.get("target").or_else(|| node.get("source"))?.text();
            node.text().or_else(target).map(str::to_owned)
        }
        Rule::Ports => port_name(node),
        Rule::Usual
        | Rule::Replace
        | Rule::Keyed
        | Rule::List
        | Rule::Logging
        | Rule::Healthcheck
        | Rule::Hooks => None,
    };
    let mut places: HashMap<String, usize> = (all.iter().enumerate())
        .filter_map(|(place, item)| Some((name(item)?, place)))
        .collect();
    for item in items(over) {
        match name(&item) {
            Some(name) if places.contains_key(&name) => all[places[&name]] = item,
            name => {
                places.extend(name.map(|name| (name, all.len())));
                all.push(item);
            }
        }
    }
    let head = if matches!(base.kind, Kind::Sequence(_)) {
        base
    } else {
        over
    };
    head.with(Kind::Sequence(all))
}

/// What makes a port of `ports` the same as another: address, published, target, protocol.
fn port_name(node: &Node<'_>) -> Option<String> {
    let (address, published, target, protocol) = match &node.kind {
        Kind::Mapping(_) => {
            let part = |key: &str| node.get(key).and_then(|value| value.text());
            let address = part("host_ip").unwrap_or_default();
            let published = part("published").unwrap_or_default();
            (address, published, part("target")?, part("protocol"))
        }
        Kind::Scalar { text, .. } => {
            let (ports, protocol) = match text.rsplit_once('/') {
                Some((ports, protocol)) => (ports, Some(protocol)),
                None => (text.as_ref(), None),
            };
            let (before, target) = ports.rsplit_once(':').unwrap_or(("", ports));
            let (address, published) = before.rsplit_once(':').unwrap_or(("", before));
            (address, published, target, protocol)
        }
        Kind::Sequence(_) => return None,
    };
    let address = if address.is_empty() {
        "0.0.0.0"
    } else {
        address
    };
    let protocol = protocol.unwrap_or("tcp");
    Some(format!("{address}:{published}:{target}/{protocol}"))
}

/// The tree without what `!reset` takes away; `None` where that is all of it.
pub(super) fn strip<'s>(node: &Rc<Node<'s>>) -> Option<Rc<Node<'s>>> {
    if node.mark == Mark::Reset {
        return None;
    }
    if !node.has_marks {
        return Some(Rc::clone(node));
    }
    let kind = match &node.kind {
        Kind::Scalar { .. } => node.kind.clone(),
        Kind::Sequence(items) => Kind::Sequence(items.iter().filter_map(strip).collect()),
        Kind::Mapping(entries) => {
            let stripped = entries.iter().filter_map(|entry| {
                Some(Entry {
                    key: Rc::clone(&entry.key),
                    value: strip(&entry.value)?,
                })
            });
            Kind::Mapping(stripped.collect())
        }
    };
    let mut plain = Node::clone(node);
    plain.mark = Mark::None;
    let taken: Vec<&str> = node.entries().iter().filter_map(taken).collect();
    plain.under = (node.under.as_ref().and_then(strip)).map(|under| without(&under, &taken));
    Some(plain.with(kind))
}

/// The key of an entry that is taken away.
fn taken<'n>(entry: &'n Entry<'_>) -> Option<&'n str> {
    (entry.value.mark == Mark::Reset).then(|| entry.key.text())?
}

/// A map, or a list that stands for one, without these keys.
fn without<'s>(node: &Rc<Node<'s>>, keys: &[&str]) -> Rc<Node<'s>> {
    if keys.is_empty() {
        return Rc::clone(node);
    }
    let is_kept = |text: Option<&str>| text.is_none_or(|text| !keys.contains(&text));
    let kind = match &node.kind {
        Kind::Scalar { .. } => node.kind.clone(),
        Kind::Sequence(items) => {
            let key = |text: &'_ str| text.split('=').next().unwrap_or_default().to_owned();
            let kept = items
                .iter()
                .filter(|it| is_kept(it.text().map(key).as_deref()));
            Kind::Sequence(kept.cloned().collect())
        }
        Kind::Mapping(entries) => {
            let kept = entries.iter().filter(|entry| is_kept(entry.key.text()));
            Kind::Mapping(kept.cloned().collect())
        }
    };
    let mut rest = Node::clone(node);
    rest.under = node.under.as_ref().map(|under| without(under, keys));
    rest.with(kind)
}
