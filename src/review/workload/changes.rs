//! Which images an update changed: the update rules.

use super::walk::{Entry, Found, Image};
use crate::policy::List;
use std::collections::{HashMap, HashSet};

/// A list of one PodSpec, or the place of one configured image: what is compared with its like on the other side.
type Group<'f> = (usize, &'f str, List);

/// For each entry of `new`, whether it differs from `old`; linear in both.
///
/// Within a list, the container's name is the identity where names occur once on both sides. Otherwise the lists
/// compare by position, and any difference counts for the whole list. `same_text` says whether all that stands under
/// the top-level key of a path is the same text on both sides: the only way for a value of a wrong type to be unchanged.
pub(crate) fn changed(new: &Found<'_>, old: &Found<'_>, mut same_text: impl FnMut(usize) -> bool) -> Vec<bool> {
    let old_groups = grouped(old);
    let mut changed = vec![false; new.entries.len()];
    for (group, entries) in grouped(new) {
        let old_entries = old_groups.get(&group).map_or(&[][..], Vec::as_slice);
        mark(&entries, old_entries, &mut changed);
    }
    // Asked once a path: each answer reads both objects, and there may be as many wrong values as bytes.
    let mut same: HashMap<usize, bool> = HashMap::new();
    for (entry, changed) in new.entries.iter().zip(&mut changed) {
        if matches!(entry.image, Image::Wrong(_)) {
            *changed = !*same.entry(entry.path).or_insert_with(|| same_text(entry.path));
        }
    }
    changed
}

/// For each entry of `new` whose number is in `wanted`, what stood in its place in `old`: a string, in the same list,
/// under a name that occurs once on both sides.
pub(crate) fn replaced<'f>(new: &Found<'_>, old: &'f Found<'_>, wanted: &[usize]) -> Vec<Option<&'f str>> {
    let (new_names, old_names) = (by_name(new), by_name(old));
    let stood = |number: &usize| {
        let name = name_of(new, new.entries.get(*number)?)?;
        new_names.get(&name)?.as_ref()?;
        match &old_names.get(&name)?.as_ref()?.image {
            Image::Text(text) => Some(text.as_ref()),
            Image::Wrong(_) => None,
        }
    };
    wanted.iter().map(stood).collect()
}

/// Entries by place, list and name; none under a name that occurs twice.
fn by_name<'f, 'a>(found: &'f Found<'a>) -> HashMap<Name<'f>, Option<&'f Entry<'a>>> {
    let mut names = HashMap::with_capacity(found.entries.len());
    for entry in &found.entries {
        if let Some(name) = name_of(found, entry) {
            names.entry(name).and_modify(|twice| *twice = None).or_insert(Some(entry));
        }
    }
    names
}

/// Path, place, list and the container's name.
type Name<'f> = (usize, &'f str, List, &'f str);

fn name_of<'f>(found: &'f Found<'_>, entry: &'f Entry<'_>) -> Option<Name<'f>> {
    let place = found.places.get(entry.place).map_or("", String::as_str);
    Some((entry.path, place, entry.list, entry.name.as_deref()?))
}

fn grouped<'f, 'a>(found: &'f Found<'a>) -> HashMap<Group<'f>, Vec<(usize, &'f Entry<'a>)>> {
    let mut groups: HashMap<Group<'f>, Vec<(usize, &'f Entry<'a>)>> = HashMap::new();
    for (number, entry) in found.entries.iter().enumerate() {
        let place = found.places.get(entry.place).map_or("", String::as_str);
        groups.entry((entry.path, place, entry.list)).or_default().push((number, entry));
    }
    groups
}

fn mark(new: &[(usize, &Entry<'_>)], old: &[(usize, &Entry<'_>)], changed: &mut [bool]) {
    if names_identify(new) && names_identify(old) {
        let old: HashMap<_, _> = old.iter().map(|(_, entry)| (&entry.name, &entry.image)).collect();
        for (number, entry) in new {
            changed[*number] = old.get(&entry.name) != Some(&&entry.image);
        }
        return;
    }
    let same = |((_, new), (_, old)): (&(usize, &Entry<'_>), &(usize, &Entry<'_>))| {
        new.name == old.name && new.image == old.image
    };
    let differs = new.len() != old.len() || !new.iter().zip(old).all(same);
    for (number, _) in new {
        changed[*number] = differs;
    }
}

/// Whether every entry has a name and no two have the same.
fn names_identify(entries: &[(usize, &Entry<'_>)]) -> bool {
    let mut seen = HashSet::with_capacity(entries.len());
    entries.iter().all(|(_, entry)| entry.name.is_some() && seen.insert(&entry.name))
}
