//! Groups of several indexes, joined as clients join those of several repositories.
//!
//! A group that two indexes have is one group: what it is called and whether it is shown is said by the most wanted index, and in it are
//! the packages of both. A package that both have in it is in it as the most wanted one says. So it is with the groups of a category
//! or an environment, and with language packs, of which a file has one list. Other entries are told by all that they say.
//!
//! What is united is inserted into the most wanted entry; else an entry stands as it stood. The files are read as streams, and what comes
//! of them is held whole, within [`Limits::fragment_bytes`].

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::mem;

use super::cut::bound;
use super::join::name as digest;
use crate::decompress::open;
use crate::rpm::xml::{Document, Namespaces, Node, gather};
use crate::{Invalid, Limits};

const WHAT: &str = "comps.xml";

/// What an item of a list takes beside its text, in bytes, about.
const ITEM: u64 = 64;

/// The lists of an entry that are united, and what their items are called.
fn lists_of(entry: &str) -> &'static [(&'static str, &'static str)] {
    match entry {
        "group" => &[("packagelist", "packagereq")],
        "category" => &[("grouplist", "groupid")],
        "environment" => &[("grouplist", "groupid"), ("optionlist", "groupid")],
        _ => &[],
    }
}

/// The entry that is a list itself: its items are told by their names.
const LANGUAGE_PACKS: (&str, &str) = ("langpacks", "match");

/// Joins files, the most wanted first.
pub(super) fn join(from: &mut [Box<dyn Read + Send>], limits: &Limits, into: &mut dyn Write) -> Result<(), Invalid> {
    let mut all = All { entries: Vec::new(), known: HashMap::new(), bytes: 0, most: limits.fragment_bytes };
    from.iter_mut().try_for_each(|from| read(from, limits, &mut all))?;
    all.write(into).map_err(Invalid::Read)
}

/// The entries so far.
struct All {
    entries: Vec<Entry>,
    /// Where they are, by their names.
    known: HashMap<[u8; 16], usize>,
    bytes: u64,
    most: u64,
}

/// An entry, with what others add to it.
struct Entry {
    text: Vec<u8>,
    lists: Vec<List>,
}

/// A list of an entry.
struct List {
    name: &'static str,
    place: Place,
    items: HashSet<[u8; 16]>,
    added: Vec<u8>,
}

/// Where in its entry's text something can be added to a list.
#[derive(Clone)]
enum Place {
    /// Just there.
    At(usize),
    /// There stands the end of an element of this name, which is empty.
    In(usize, String),
    /// There is no such list: there it can be.
    Without(usize),
}

impl Place {
    const fn at(&self) -> usize {
        match self {
            Self::At(at) | Self::In(at, _) | Self::Without(at) => *at,
        }
    }

    fn moved(mut self, by: usize) -> Self {
        let (Self::At(at) | Self::In(at, _) | Self::Without(at)) = &mut self;
        *at += by;
        self
    }

    /// At the end of the element that was closed last.
    fn of(recorded: &str) -> Self {
        let Some(before) = recorded.strip_suffix("/>") else {
            return Self::At(recorded.rfind("</").unwrap_or(recorded.len()));
        };
        let begin = before.rfind('<').map_or(before.len(), |at| at + 1);
        let name = before.get(begin..).unwrap_or_default();
        Self::In(before.len(), name.split(|c: char| c.is_ascii_whitespace()).next().unwrap_or_default().to_owned())
    }
}

impl Entry {
    fn write(&mut self, into: &mut dyn Write) -> std::io::Result<()> {
        let Self { text, lists } = self;
        lists.sort_by_key(|list| list.place.at());
        let mut written = 0;
        for List { name, place, added, .. } in lists.iter().filter(|list| !list.added.is_empty()) {
            into.write_all(text.get(written..place.at()).unwrap_or_default())?;
            written = place.at();
            match place {
                Place::At(_) => into.write_all(added)?,
                Place::In(_, name) => {
                    written += "/>".len();
                    into.write_all(b">")?;
                    into.write_all(added)?;
                    write!(into, "</{name}>")?;
                }
                Place::Without(_) => {
                    write!(into, "<{name}>")?;
                    into.write_all(added)?;
                    write!(into, "</{name}>")?;
                }
            }
        }
        into.write_all(text.get(written..).unwrap_or_default())
    }
}

/// An item of a list as it was read: where it stands in its entry.
struct Item {
    list: &'static str,
    name: [u8; 16],
    begin: usize,
    end: usize,
    namespaces: Vec<(String, String)>,
}

/// An entry that is being read.
#[derive(Default)]
struct Reading {
    name: String,
    id: String,
    in_id: bool,
    /// The list that is being read, and what its items are called.
    list: Option<(&'static str, &'static str)>,
    places: Vec<(&'static str, Place)>,
    items: Vec<Item>,
    /// The item that is being read.
    item: Option<(usize, Vec<(String, String)>)>,
    text: String,
}

fn read(from: &mut dyn Read, limits: &Limits, all: &mut All) -> Result<(), Invalid> {
    let document = Document::new(WHAT, "comps", open(WHAT, from, limits)?, limits);
    let mut document = document.recording(limits).with_doctype().strictly();
    let text_bytes = document.text_bytes();
    let (mut namespaces, mut entry) = (Namespaces::default(), Reading::default());
    loop {
        let (mut opened, mut closed) = (None, 0);
        match document.next()? {
            Node::Open(1, element) => namespaces.of_root = element.namespaces()?,
            Node::Open(2, element) => {
                namespaces.of_package = element.namespaces()?;
                entry = Reading { name: element.name().to_owned(), ..Reading::default() };
                if entry.name == LANGUAGE_PACKS.0 {
                    entry.list = Some(LANGUAGE_PACKS);
                }
            }
            Node::Open(3, element) if entry.name == LANGUAGE_PACKS.0 => {
                if element.name() == LANGUAGE_PACKS.1 {
                    entry.text = element.attribute("name")?.unwrap_or_default().into_owned();
                    opened = Some(element.namespaces()?);
                }
            }
            Node::Open(3, element) => {
                entry.in_id = element.name() == "id" && entry.id.is_empty();
                entry.list = lists_of(&entry.name).iter().copied().find(|(list, _)| *list == element.name());
            }
            Node::Open(4, element) if entry.list.is_some_and(|(_, item)| item == element.name()) => {
                entry.text.clear();
                opened = Some(element.namespaces()?);
            }
            Node::Text(piece) if entry.in_id => gather(WHAT, &mut entry.id, &piece, text_bytes)?,
            Node::Text(piece) if entry.item.is_some() && entry.name != LANGUAGE_PACKS.0 => {
                gather(WHAT, &mut entry.text, &piece, text_bytes)?;
            }
            Node::Close(depth) => closed = depth,
            Node::Open(..) | Node::Text(_) => {}
            Node::End => return Ok(()),
        }
        let recorded = document.recorded();
        if let Some(namespaces) = opened {
            entry.item = Some((recorded.rfind('<').unwrap_or_default(), namespaces));
        }
        let depth_of_items = if entry.name == LANGUAGE_PACKS.0 { 3 } else { 4 };
        if closed == depth_of_items {
            entry.item_ends(recorded, all)?;
        }
        if closed == 3 {
            entry.in_id = false;
            if depth_of_items == 4 {
                entry.list_ends(recorded);
            }
        }
        if closed == 2 {
            if depth_of_items == 3 {
                entry.list_ends(recorded);
            }
            all.take(&mem::take(&mut entry), recorded, &namespaces)?;
        }
    }
}

impl Reading {
    fn item_ends(&mut self, recorded: &str, all: &mut All) -> Result<(), Invalid> {
        let (Some((begin, namespaces)), Some((list, _))) = (self.item.take(), self.list) else { return Ok(()) };
        all.count(ITEM)?;
        let name = digest(&[self.text.trim()]);
        self.items.push(Item { list, name, begin, end: recorded.len(), namespaces });
        Ok(())
    }

    fn list_ends(&mut self, recorded: &str) {
        if let Some((list, _)) = self.list.take()
            && !self.places.iter().any(|(known, _)| *known == list)
        {
            self.places.push((list, Place::of(recorded)));
        }
    }
}

impl All {
    fn write(&mut self, into: &mut dyn Write) -> std::io::Result<()> {
        writeln!(into, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<comps>")?;
        self.entries.iter_mut().try_for_each(|entry| entry.write(into))?;
        writeln!(into, "</comps>")
    }

    fn count(&mut self, bytes: u64) -> Result<(), Invalid> {
        self.bytes += bytes;
        if self.bytes > self.most {
            return Err(Invalid::OverLimit { what: WHAT, limit: "fragment_bytes", value: self.most });
        }
        Ok(())
    }

    /// Takes an entry that was read, or what it adds to one of its name.
    fn take(&mut self, read: &Reading, recorded: &str, namespaces: &Namespaces) -> Result<(), Invalid> {
        let name = match (read.id.trim(), read.name == LANGUAGE_PACKS.0) {
            (_, true) => digest(&[&read.name]),
            ("", false) => digest(&[&read.name, "", recorded]),
            (id, false) => digest(&[&read.name, id]),
        };
        if let Some(at) = self.known.get(&name).copied() {
            return self.unite(at, read, recorded, namespaces);
        }
        let mut text = Vec::new();
        bound(recorded, namespaces, &|_, _| false, &mut text);
        self.count(text.len() as u64 + ITEM)?;
        let by = text.len().saturating_sub("\n".len() + recorded.len());
        let end = recorded.rfind("</").unwrap_or(recorded.len());
        let names = lists_of(&read.name).iter().map(|(list, _)| *list);
        let names = names.chain((read.name == LANGUAGE_PACKS.0).then_some(LANGUAGE_PACKS.0));
        let lists = names.map(|list| {
            let place = read.places.iter().find(|(known, _)| *known == list).map(|(_, place)| place.clone());
            let items = read.items.iter().filter(|item| item.list == list).map(|item| item.name).collect();
            List { name: list, place: place.unwrap_or(Place::Without(end)).moved(by), items, added: Vec::new() }
        });
        self.known.insert(name, self.entries.len());
        self.entries.push(Entry { text, lists: lists.collect() });
        Ok(())
    }

    fn unite(&mut self, at: usize, read: &Reading, recorded: &str, namespaces: &Namespaces) -> Result<(), Invalid> {
        let mut text = Vec::new();
        for item in &read.items {
            let lists = self.entries.get_mut(at).into_iter().flat_map(|entry| &mut entry.lists);
            let Some(list) = lists.into_iter().find(|list| list.name == item.list) else { continue };
            if !list.items.insert(item.name) {
                continue;
            }
            // It leaves all that is around it.
            let mut around = Namespaces { of_root: namespaces.of_package.clone(), of_package: item.namespaces.clone() };
            for (name, value) in &namespaces.of_root {
                if !around.of_root.iter().any(|(known, _)| known == name) {
                    around.of_root.push((name.clone(), value.clone()));
                }
            }
            bound(recorded.get(item.begin..item.end).unwrap_or_default(), &around, &|_, _| false, &mut text);
            list.added.extend_from_slice(&text);
            self.count(text.len() as u64)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined_within(from: &[&str], limits: &Limits) -> Result<String, Invalid> {
        let mut from: Vec<Box<dyn Read + Send>> = from
            .iter()
            .map(|text| Box::new(std::io::Cursor::new((*text).to_owned())) as Box<dyn Read + Send>)
            .collect();
        let mut into = Vec::new();
        join(&mut from, limits, &mut into)?;
        // Whatever was inserted where: it is a document that clients read.
        let mut document = Document::new(WHAT, "comps", &*into, limits).strictly();
        while !matches!(document.next()?, Node::End) {}
        Ok(String::from_utf8(into).expect("UTF-8"))
    }

    #[track_caller]
    fn joins(from: &[&str], entries: &str) {
        let expected = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<comps>\n{entries}</comps>\n");
        assert_eq!(joined_within(from, &Limits::default()).expect("joined"), expected);
    }

    #[test]
    fn what_is_of_one_name_is_one() {
        joins(
            &[
                "<?xml version=\"1.0\"?>\n<!DOCTYPE comps PUBLIC \"-//Red Hat, Inc.//DTD Comps info//EN\" \"comps.dtd\">\n\
                 <comps><group><id>core</id><name>Ours</name></group><category><id>core</id></category></comps>",
                "<comps xmlns:x='urn:x'><group><id> core </id><name>Theirs</name></group>\
                 <group><id>x11</id><x:a/></group><langpacks><match name=\"a\"/></langpacks></comps>",
            ],
            "<group><id>core</id><name>Ours</name></group>\n<category><id>core</id></category>\n\
             <group xmlns:x=\"urn:x\"><id>x11</id><x:a/></group>\n\
             <langpacks xmlns:x=\"urn:x\"><match name=\"a\"/></langpacks>\n",
        );
    }

    #[test]
    fn packages_of_a_group_are_united_and_the_first_word_counts() {
        joins(
            &[
                "<comps><group><id>core</id><name>Ours</name><packagelist><packagereq type=\"mandatory\">a</packagereq>\
                 </packagelist><x/></group></comps>",
                "<comps><group><name>Theirs</name><packagelist><packagereq type=\"optional\"> a </packagereq>\
                 <packagereq type=\"default\">b</packagereq></packagelist><id>core</id></group></comps>",
                "<comps><group><id>core</id><packagelist><packagereq>b</packagereq><packagereq>c &amp; d</packagereq>\
                 </packagelist></group></comps>",
            ],
            "<group><id>core</id><name>Ours</name><packagelist><packagereq type=\"mandatory\">a</packagereq>\
             <packagereq type=\"default\">b</packagereq>\n<packagereq>c &amp; d</packagereq>\n</packagelist><x/></group>\n",
        );
    }

    #[test]
    fn a_list_that_is_empty_or_not_there_is_filled() {
        let theirs = "<comps><environment><id>e</id><grouplist><groupid>a</groupid></grouplist>\
                      <optionlist><groupid>b</groupid></optionlist></environment><category><id>c</id><grouplist>\
                      <groupid>a</groupid></grouplist></category></comps>";
        joins(
            &[
                "<comps><environment><id>e</id><optionlist x='1'></optionlist></environment>\
                 <category><id>c</id><grouplist/></category></comps>",
                theirs,
            ],
            "<environment><id>e</id><optionlist x='1'><groupid>b</groupid>\n</optionlist><grouplist><groupid>a</groupid>\n\
             </grouplist></environment>\n<category><id>c</id><grouplist><groupid>a</groupid>\n</grouplist></category>\n",
        );
    }

    #[test]
    fn there_is_one_list_of_language_packs() {
        joins(
            &[
                "<comps><langpacks/></comps>",
                "<comps><langpacks><match install=\"a-%s\" name=\"a\"/></langpacks></comps>",
                "<comps><langpacks><match install=\"other\" name=\"a\"/><match install=\"b-%s\" name=\"b\"/></langpacks></comps>",
            ],
            "<langpacks><match install=\"a-%s\" name=\"a\"/>\n<match install=\"b-%s\" name=\"b\"/>\n</langpacks>\n",
        );
    }

    #[test]
    fn what_an_item_needs_of_what_was_around_it_comes_along() {
        let ours = "<comps xmlns:z='urn:z'><group><id>g</id><packagelist/></group></comps>";
        let theirs = "<comps xmlns:x='urn:1' xmlns:y='urn:2'><group xmlns:x='urn:3'><id>g</id><packagelist>\
                      <packagereq xmlns:y='urn:4' x:a='1' y:b='2'><![CDATA[<]]></packagereq></packagelist></group></comps>";
        joins(
            &[ours, theirs],
            "<group xmlns:z=\"urn:z\"><id>g</id><packagelist><packagereq xmlns:x=\"urn:3\" xmlns:y='urn:4' x:a='1' y:b='2'>\
             <![CDATA[<]]></packagereq>\n</packagelist></group>\n",
        );
    }

    #[test]
    fn memory_is_bounded() {
        let limits = Limits { fragment_bytes: 4 << 10, ..Limits::default() };
        let group = |id: usize| format!("<group><id>{id}</id>{}</group>", "x".repeat(1_000));
        let one = format!("<comps>{}</comps>", group(1));
        assert!(joined_within(&[&one, &one, &one, &one, &one, &one], &limits).is_ok(), "the same again takes nothing");
        let many: Vec<String> = (0..6).map(|id| format!("<comps>{}</comps>", group(id))).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(matches!(joined_within(&many, &limits), Err(Invalid::OverLimit { limit: "fragment_bytes", .. })));
        let items = "<packagereq>a</packagereq>".repeat(100);
        let items = format!("<comps><group><id>a</id><packagelist>{items}</packagelist></group></comps>");
        assert!(matches!(joined_within(&[&items], &limits), Err(Invalid::OverLimit { limit: "fragment_bytes", .. })));
    }
}
