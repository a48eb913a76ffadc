//! The walk from an object's text along a path to its images, in one pass that skips all other keys.

use super::path::{Path, Step};
use crate::policy::{Few, List};
use crate::review::json;
use crate::review::request::Text;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// The images, and the PodSpecs, that are kept of one object. Its text is bounded and memory is not: `[1,1,1]` has a
/// place for every two bytes. Three MiB, the most that an object of a cluster has, hold no more real ones.
pub(crate) const MAX_ENTRIES: usize = 50_000;

/// All that a kind's paths lead to in one object.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Found<'a> {
    /// Printed paths: of a PodSpec, or of a configured image itself.
    pub(crate) places: Few<String>,
    /// In the order of paths, then of the text.
    pub(crate) entries: Vec<Entry<'a>>,
}

/// One place where an image is, or should be.
#[derive(Debug, PartialEq)]
pub(crate) struct Entry<'a> {
    /// Which of the kind's paths led here.
    pub(crate) path: usize,
    /// Index into [`Found::places`].
    pub(crate) place: usize,
    /// Which list of the PodSpec; [`List::Configured`]: the place is the image's own.
    pub(crate) list: List,
    /// The index in that list.
    pub(crate) index: u32,
    /// The container's or volume's name.
    pub(crate) name: Option<Cow<'a, str>>,
    /// What stands there.
    pub(crate) image: Image<'a>,
}

/// What stands where an image belongs.
#[derive(Debug, PartialEq)]
pub(crate) enum Image<'a> {
    /// A string as written; empty also where the key is absent.
    Text(Cow<'a, str>),
    /// Something that is no image, by its type: never passed over in silence.
    Wrong(&'static str),
}

impl<'a> Found<'a> {
    /// Follows `path`, number `number` of its kind, through the object's text.
    pub(crate) fn follow(&mut self, object: &'a str, path: &Path, number: usize) {
        let (places, entries) = (self.places.len(), self.entries.len());
        let walk = Walk { path, number, steps: &path.steps, indexes: &mut Vec::new(), found: self };
        if json::seeded(object, Reading(walk)).is_some() {
            return;
        }
        self.forget(places, entries);
        let mut deserializer = serde_json::Deserializer::from_str(object);
        let walk = Walk { path, number, steps: &path.steps, indexes: &mut Vec::new(), found: self };
        // The text has been scanned once, as a part of the review, but a scan does not decode strings: half a
        // surrogate pair and a number beyond all range come to light here, and must not hide an image.
        if Reading(walk).deserialize(&mut deserializer).is_err() {
            self.push_literal(number, path.top().to_owned(), Image::Wrong("<a value that cannot be read>"));
        }
    }

    /// Leaves what was there when there were so many of both.
    fn forget(&mut self, places: usize, entries: usize) {
        self.places = std::mem::take(&mut self.places).into_iter().take(places).collect();
        self.entries.truncate(entries);
    }

    /// Keeps an entry. The first beyond the bound stands for all that follow, as something wrong: what was not read is
    /// never let in, and unchanged only where all around it is.
    fn push(&mut self, entry: Entry<'a>) {
        match self.entries.len() {
            ..MAX_ENTRIES => self.entries.push(entry),
            MAX_ENTRIES => self.entries.push(Entry { image: Image::Wrong("<more images than are read>"), ..entry }),
            _ => {}
        }
    }

    fn push_literal(&mut self, path: usize, place: String, image: Image<'a>) {
        if self.entries.len() > MAX_ENTRIES {
            return;
        }
        self.places.push(place);
        self.push(Entry { path, place: self.places.len() - 1, list: List::Configured, index: 0, name: None, image });
    }
}

/// Takes whatever JSON value stands at a place, by its type. `null` is what is absent: nothing.
trait Read<'de>: Sized {
    fn text(self, _text: Cow<'de, str>) {
        self.wrong("<a string>");
    }

    fn list<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        self.wrong("<a list>");
        Ok(())
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.wrong("<an object>");
        Ok(())
    }

    /// A value of a type that does not belong here.
    fn wrong(self, what: &'static str);
}

/// Makes a [`Read`] what serde drives.
struct Reading<R>(R);

impl<'de, R: Read<'de>> DeserializeSeed<'de> for Reading<R> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, R: Read<'de>> Visitor<'de> for Reading<R> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<(), E> {
        self.0.text(Cow::Borrowed(text));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.text(Cow::Owned(text.to_owned()));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        self.0.list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<(), A::Error> {
        self.0.object(object)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _value: bool) -> Result<(), E> {
        self.0.wrong("<a boolean>");
        Ok(())
    }

    fn visit_u64<E>(self, _value: u64) -> Result<(), E> {
        self.0.wrong("<a number>");
        Ok(())
    }

    fn visit_i64<E>(self, _value: i64) -> Result<(), E> {
        self.0.wrong("<a number>");
        Ok(())
    }

    fn visit_f64<E>(self, _value: f64) -> Result<(), E> {
        self.0.wrong("<a number>");
        Ok(())
    }
}

/// On the way: `steps` are still to be taken. Recurses once a step, so at most `MAX_STEPS` times.
struct Walk<'w, 'de> {
    path: &'w Path,
    number: usize,
    steps: &'w [Step],
    indexes: &'w mut Vec<u32>,
    found: &'w mut Found<'de>,
}

impl Walk<'_, '_> {
    fn printed(&self) -> String {
        self.path.at(self.path.steps.len() - self.steps.len(), self.indexes).to_string()
    }
}

impl<'de> Read<'de> for Walk<'_, 'de> {
    fn text(self, text: Cow<'de, str>) {
        if !self.steps.is_empty() {
            return self.wrong("<a string>");
        }
        let place = self.printed();
        self.found.push_literal(self.number, place, Image::Text(text));
    }

    fn list<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some((Step::Each, steps)) = self.steps.split_first() else {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            self.wrong("<a list>");
            return Ok(());
        };
        for index in 0.. {
            self.indexes.push(index);
            let walk = Walk { path: self.path, number: self.number, steps, indexes: self.indexes, found: self.found };
            let more = list.next_element_seed(Reading(walk))?;
            self.indexes.pop();
            if more.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        match self.steps.split_first() {
            None if self.found.places.len() >= MAX_ENTRIES => {
                while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                self.wrong("<more PodSpecs than are read>");
                Ok(())
            }
            None => {
                let spec = self.printed();
                self.found.places.push(spec);
                let place = self.found.places.len() - 1;
                pod_spec(object, PodSpec { number: self.number, place, found: self.found })
            }
            Some((Step::Key(wanted), steps)) => {
                while let Some(key) = object.next_key::<Text<'de>>()? {
                    if key.0 != *wanted {
                        object.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    let walk =
                        Walk { path: self.path, number: self.number, steps, indexes: self.indexes, found: self.found };
                    object.next_value_seed(Reading(walk))?;
                }
                Ok(())
            }
            Some((Step::Each, _)) => {
                while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                self.wrong("<an object>");
                Ok(())
            }
        }
    }

    fn wrong(self, what: &'static str) {
        let place = self.printed();
        self.found.push_literal(self.number, place, Image::Wrong(what));
    }
}

/// Arrived at a PodSpec, whose printed path is number `place`.
struct PodSpec<'w, 'de> {
    number: usize,
    place: usize,
    found: &'w mut Found<'de>,
}

/// The four places of a PodSpec. `volumes[].rbd.image` names a block device and `status` what runs already: neither is read.
fn pod_spec<'de, A: MapAccess<'de>>(mut object: A, spec: PodSpec<'_, 'de>) -> Result<(), A::Error> {
    while let Some(key) = object.next_key::<Text<'de>>()? {
        let list = match &*key.0 {
            "initContainers" => List::InitContainers,
            "containers" => List::Containers,
            "ephemeralContainers" => List::EphemeralContainers,
            "volumes" => List::Volumes,
            _ => {
                object.next_value::<IgnoredAny>()?;
                continue;
            }
        };
        let spec = PodSpec { number: spec.number, place: spec.place, found: &mut *spec.found };
        object.next_value_seed(Reading(Entries { spec, list, key: key.0 }))?;
    }
    Ok(())
}

/// One list of a PodSpec.
struct Entries<'w, 'de> {
    spec: PodSpec<'w, 'de>,
    list: List,
    key: Cow<'de, str>,
}

impl<'de> Read<'de> for Entries<'_, 'de> {
    fn list<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        for index in 0.. {
            let mut slot = Slot::default();
            let element = Element { list: self.list, slot: &mut slot };
            if list.next_element_seed(Reading(element))?.is_none() {
                break;
            }
            let Some(image) = slot.image else { continue };
            let PodSpec { number: path, place, .. } = self.spec;
            self.spec.found.push(Entry { path, place, list: self.list, index, name: slot.name, image });
        }
        Ok(())
    }

    fn wrong(self, what: &'static str) {
        let place = self.spec.found.places.get(self.spec.place).map_or("", String::as_str);
        let place = format!("{place}.{}", self.key);
        self.spec.found.push_literal(self.spec.number, place, Image::Wrong(what));
    }
}

/// What one element of a list has: its name, and its image if it is to have one.
#[derive(Default)]
struct Slot<'de> {
    name: Option<Cow<'de, str>>,
    image: Option<Image<'de>>,
}

/// One container or volume.
struct Element<'w, 'de> {
    list: List,
    slot: &'w mut Slot<'de>,
}

impl<'de> Read<'de> for Element<'_, 'de> {
    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let Slot { name, image } = self.slot;
        if self.list != List::Volumes {
            *image = Some(Image::Text(Cow::Borrowed("")));
        }
        while let Some(key) = object.next_key::<Text<'de>>()? {
            match &*key.0 {
                "name" => object.next_value_seed(Reading(Name(name)))?,
                "image" if self.list == List::Volumes => object.next_value_seed(Reading(ImageVolume(image)))?,
                "image" => object.next_value_seed(Reading(Leaf(image)))?,
                _ => {
                    object.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn wrong(self, what: &'static str) {
        self.slot.image = Some(Image::Wrong(what));
    }
}

/// A name; one that is no string is none, and its list then compares by position.
struct Name<'w, 'de>(&'w mut Option<Cow<'de, str>>);

impl<'de> Read<'de> for Name<'_, 'de> {
    fn text(self, text: Cow<'de, str>) {
        *self.0 = Some(text);
    }

    fn wrong(self, _what: &'static str) {}
}

/// The image itself.
struct Leaf<'w, 'de>(&'w mut Option<Image<'de>>);

impl<'de> Read<'de> for Leaf<'_, 'de> {
    fn text(self, text: Cow<'de, str>) {
        *self.0 = Some(Image::Text(text));
    }

    fn wrong(self, what: &'static str) {
        *self.0 = Some(Image::Wrong(what));
    }
}

/// `image` of a volume: an object with a `reference`.
struct ImageVolume<'w, 'de>(&'w mut Option<Image<'de>>);

impl<'de> Read<'de> for ImageVolume<'_, 'de> {
    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        *self.0 = Some(Image::Text(Cow::Borrowed("")));
        while let Some(key) = object.next_key::<Text<'de>>()? {
            if key.0 == "reference" {
                object.next_value_seed(Reading(Leaf(&mut *self.0)))?;
            } else {
                object.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn wrong(self, what: &'static str) {
        *self.0 = Some(Image::Wrong(what));
    }
}
