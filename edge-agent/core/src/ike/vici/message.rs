//! A message: sections of scalars, lists and further sections, in order.

use std::fmt;

use zeroize::Zeroizing;

use super::ViciError;

/// Sections in sections. charon's own answers have at most four.
pub(super) const MAX_DEPTH: usize = 16;

mod element {
    pub const SECTION_START: u8 = 1;
    pub const SECTION_END: u8 = 2;
    pub const KEY_VALUE: u8 = 3;
    pub const LIST_START: u8 = 4;
    pub const LIST_ITEM: u8 = 5;
    pub const LIST_END: u8 = 6;
}

/// What a name stands for.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// May be a secret: erased when dropped.
    Scalar(Zeroizing<Vec<u8>>),
    List(Vec<Zeroizing<Vec<u8>>>),
    Section(Section),
}

/// Prints what it is and how long, never what it says.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Scalar(octets) => write!(f, "<{} octets>", octets.len()),
            Value::List(items) => write!(f, "<{} items>", items.len()),
            Value::Section(section) => section.fmt(f),
        }
    }
}

/// Names and values in the order in which they were said. A message is one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section(pub Vec<(String, Value)>);

impl Section {
    #[must_use]
    pub fn scalar(mut self, name: &str, value: impl AsRef<[u8]>) -> Section {
        self.0.push((name.to_owned(), Value::Scalar(Zeroizing::new(value.as_ref().to_vec()))));
        self
    }

    #[must_use]
    pub fn list<T: AsRef<[u8]>>(
        mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
    ) -> Section {
        let items = items.into_iter().map(|item| Zeroizing::new(item.as_ref().to_vec()));
        self.0.push((name.to_owned(), Value::List(items.collect())));
        self
    }

    #[must_use]
    pub fn section(mut self, name: &str, section: Section) -> Section {
        self.0.push((name.to_owned(), Value::Section(section)));
        self
    }

    /// The first value of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// A scalar that is UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Value::Scalar(octets) => std::str::from_utf8(octets).ok(),
            _ => None,
        }
    }

    /// The items of a list that are UTF-8; none, if there is no such list.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        let items = match self.get(name) {
            Some(Value::List(items)) => items.as_slice(),
            _ => &[],
        };
        items.iter().filter_map(|item| std::str::from_utf8(item).ok())
    }

    /// The sections in this one.
    pub fn sections(&self) -> impl Iterator<Item = (&str, &Section)> {
        self.0.iter().filter_map(|(name, value)| match value {
            Value::Section(section) => Some((name.as_str(), section)),
            _ => None,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), ViciError> {
        self.encode_at(0, out)
    }

    fn encode_at(&self, depth: usize, out: &mut Vec<u8>) -> Result<(), ViciError> {
        if depth > MAX_DEPTH {
            return Err(ViciError::TooDeep);
        }
        for (name, value) in &self.0 {
            match value {
                Value::Scalar(octets) => {
                    put_name(element::KEY_VALUE, name, out)?;
                    put_value(octets, out)?;
                }
                Value::List(items) => {
                    put_name(element::LIST_START, name, out)?;
                    for item in items {
                        out.push(element::LIST_ITEM);
                        put_value(item, out)?;
                    }
                    out.push(element::LIST_END);
                }
                Value::Section(section) => {
                    put_name(element::SECTION_START, name, out)?;
                    section.encode_at(depth + 1, out)?;
                    out.push(element::SECTION_END);
                }
            }
        }
        Ok(())
    }

    pub(super) fn decode(octets: &[u8]) -> Result<Section, ViciError> {
        let mut reader = Reader(octets);
        let message = reader.section(0)?;
        Ok(message)
    }
}

fn put_name(kind: u8, name: &str, out: &mut Vec<u8>) -> Result<(), ViciError> {
    let length = u8::try_from(name.len()).map_err(|_| ViciError::NameTooLong)?;
    out.extend([kind, length]);
    out.extend(name.as_bytes());
    Ok(())
}

fn put_value(value: &[u8], out: &mut Vec<u8>) -> Result<(), ViciError> {
    let length = u16::try_from(value.len()).map_err(|_| ViciError::ValueTooLong)?;
    out.extend(length.to_be_bytes());
    out.extend(value);
    Ok(())
}

/// What is left to read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, octets: usize) -> Result<&'a [u8], ViciError> {
        let (taken, rest) = self.0.split_at_checked(octets).ok_or(ViciError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, ViciError> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn name(&mut self) -> Result<String, ViciError> {
        let length = self.u8()?;
        let name = std::str::from_utf8(self.take(length.into())?);
        name.map(str::to_owned).map_err(|_| ViciError::NameNotText)
    }

    fn value(&mut self) -> Result<Zeroizing<Vec<u8>>, ViciError> {
        let length = self.take(2)?;
        let length = u16::from_be_bytes([length[0], length[1]]);
        Ok(Zeroizing::new(self.take(length.into())?.to_vec()))
    }

    /// At depth 0 up to the end of the packet, deeper up to the section's end.
    fn section(&mut self, depth: usize) -> Result<Section, ViciError> {
        if depth > MAX_DEPTH {
            return Err(ViciError::TooDeep);
        }
        let mut found = Section::default();
        while depth > 0 || !self.0.is_empty() {
            let (name, value) = match self.u8()? {
                element::KEY_VALUE => (self.name()?, Value::Scalar(self.value()?)),
                element::LIST_START => (self.name()?, Value::List(self.items()?)),
                element::SECTION_START => (self.name()?, Value::Section(self.section(depth + 1)?)),
                element::SECTION_END if depth > 0 => break,
                kind @ element::SECTION_END..=element::LIST_END => {
                    return Err(ViciError::Misplaced(kind));
                }
                kind => return Err(ViciError::UnknownType(kind)),
            };
            found.0.push((name, value));
        }
        Ok(found)
    }

    fn items(&mut self) -> Result<Vec<Zeroizing<Vec<u8>>>, ViciError> {
        let mut items = Vec::new();
        loop {
            match self.u8()? {
                element::LIST_ITEM => items.push(self.value()?),
                element::LIST_END => return Ok(items),
                kind @ element::SECTION_START..=element::LIST_START => {
                    return Err(ViciError::Misplaced(kind));
                }
                kind => return Err(ViciError::UnknownType(kind)),
            }
        }
    }
}
