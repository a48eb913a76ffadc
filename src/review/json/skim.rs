//! A deserializer for serde that passes over what is not asked for.

use super::block::plain;
use super::scan::{container_end, string_end};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use std::fmt;

/// By what serde_json's `RawValue` asks for the text of a value, here and as its only key. Should another version of it ask
/// otherwise, reviews are read by serde_json alone, and a test fails.
const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// As deep as serde_json goes. Types bound the depth before that, but for those that hold any value.
const MAX_DEPTH: u8 = 127;

/// A text, read up to a place.
pub(super) struct Skim<'de> {
    text: &'de str,
    at: usize,
    /// Objects and lists that may still be entered.
    depth: u8,
}

/// That serde_json must have the last word. What is wrong it finds itself.
#[derive(Debug)]
pub(super) struct Unclear;

impl fmt::Display for Unclear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not read")
    }
}

impl std::error::Error for Unclear {}

impl de::Error for Unclear {
    fn custom<T: fmt::Display>(_message: T) -> Self {
        Unclear
    }
}

impl<'de> Skim<'de> {
    pub fn new(text: &'de str) -> Self {
        Skim { text, at: 0, depth: MAX_DEPTH }
    }

    /// Whether nothing but space is left.
    pub fn is_at_the_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// The first byte that is no space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Goes behind a byte that has to come next.
    fn expect(&mut self, wanted: u8) -> Result<(), Unclear> {
        if self.peek() != Some(wanted) {
            return Err(Unclear);
        }
        self.at += 1;
        Ok(())
    }

    /// Goes behind a literal that has to come next.
    fn literal(&mut self, literal: &str) -> Result<(), Unclear> {
        let rest = self.text.as_bytes().get(self.at..).ok_or(Unclear)?;
        if !rest.starts_with(literal.as_bytes()) {
            return Err(Unclear);
        }
        self.at += literal.len();
        Ok(())
    }

    /// Goes behind the next value and gives its text.
    fn pass(&mut self) -> Result<&'de str, Unclear> {
        let first = self.peek().ok_or(Unclear)?;
        let (bytes, start) = (self.text.as_bytes(), self.at);
        match first {
            b'{' | b'[' => self.at = container_end(bytes, start).ok_or(Unclear)?,
            b'"' => self.at = string_end(bytes, start + 1).ok_or(Unclear)?,
            b't' => self.literal("true")?,
            b'f' => self.literal("false")?,
            b'n' => self.literal("null")?,
            _ => self.number_end()?,
        }
        self.text.get(start..self.at).ok_or(Unclear)
    }

    /// Goes behind what may be a number.
    fn number_end(&mut self) -> Result<(), Unclear> {
        let rest = self.text.as_bytes().get(self.at..).ok_or(Unclear)?;
        let is_part = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let length = rest.iter().take_while(is_part).count();
        self.at += length;
        if length == 0 { Err(Unclear) } else { Ok(()) }
    }

    /// A string; one with escapes is decoded by serde_json.
    fn string<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Unclear> {
        if self.peek() != Some(b'"') {
            return Err(Unclear);
        }
        let start = self.at + 1;
        let end = start + plain(self.text.as_bytes().get(start..).ok_or(Unclear)?);
        if self.text.as_bytes().get(end) == Some(&b'"') {
            self.at = end + 1;
            return visitor.visit_borrowed_str(self.text.get(start..end).ok_or(Unclear)?);
        }
        let escaped = self.pass()?;
        serde_json::Deserializer::from_str(escaped).deserialize_str(visitor).map_err(|_| Unclear)
    }

    fn number<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Unclear> {
        let start = self.at;
        self.number_end()?;
        let mut number = serde_json::Deserializer::from_str(self.text.get(start..self.at).ok_or(Unclear)?);
        let read = number.deserialize_any(visitor).map_err(|_| Unclear)?;
        number.end().map_err(|_| Unclear)?;
        Ok(read)
    }

    fn map<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Unclear> {
        self.expect(b'{')?;
        self.inside(|skim, end| visitor.visit_map(Elements { skim, close: b'}', is_first: true, end }))
    }

    fn list<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Unclear> {
        self.expect(b'[')?;
        self.inside(|skim, end| visitor.visit_seq(Elements { skim, close: b']', is_first: true, end }))
    }

    /// Reads what is within brackets, to their end.
    fn inside<T>(&mut self, read: impl FnOnce(&mut Self, &mut bool) -> Result<T, Unclear>) -> Result<T, Unclear> {
        self.depth = self.depth.checked_sub(1).ok_or(Unclear)?;
        let mut has_ended = false;
        let value = read(self, &mut has_ended)?;
        self.depth += 1;
        if has_ended { Ok(value) } else { Err(Unclear) }
    }
}

impl<'de> Deserializer<'de> for &mut Skim<'de> {
    type Error = Unclear;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unclear> {
        match self.peek().ok_or(Unclear)? {
            b'"' => self.string(visitor),
            b'{' => self.map(visitor),
            b'[' => self.list(visitor),
            b'n' => {
                self.literal("null")?;
                visitor.visit_unit()
            }
            b't' => {
                self.literal("true")?;
                visitor.visit_bool(true)
            }
            b'f' => {
                self.literal("false")?;
                visitor.visit_bool(false)
            }
            _ => self.number(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unclear> {
        if self.peek() == Some(b'n') {
            self.literal("null")?;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Unclear> {
        if name == RAW_VALUE {
            let text = self.pass()?;
            return visitor.visit_map(RawValue { text: Some(text) });
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unclear> {
        self.pass()?;
        visitor.visit_unit()
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unclear> {
        self.string(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unclear> {
        self.string(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unclear> {
        self.string(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unclear> {
        self.map(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unclear> {
        self.map(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unclear> {
        self.list(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Unclear> {
        Err(Unclear)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct
    }
}

/// What stands within brackets.
struct Elements<'s, 'de> {
    skim: &'s mut Skim<'de>,
    close: u8,
    is_first: bool,
    /// Set behind the closing bracket.
    end: &'s mut bool,
}

impl Elements<'_, '_> {
    /// Goes to the next element; false: there is none, and the bracket is passed.
    fn advance(&mut self) -> Result<bool, Unclear> {
        let next = self.skim.peek().ok_or(Unclear)?;
        if next == self.close {
            self.skim.at += 1;
            *self.end = true;
            return Ok(false);
        }
        if !std::mem::take(&mut self.is_first) {
            self.skim.expect(b',')?;
        }
        Ok(true)
    }
}

impl<'de> MapAccess<'de> for Elements<'_, 'de> {
    type Error = Unclear;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Unclear> {
        if !self.advance()? {
            return Ok(None);
        }
        // The only type that a key may have.
        if self.skim.peek() != Some(b'"') {
            return Err(Unclear);
        }
        seed.deserialize(&mut *self.skim).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Unclear> {
        self.skim.expect(b':')?;
        seed.deserialize(&mut *self.skim)
    }
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Unclear;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Unclear> {
        if !self.advance()? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.skim).map(Some)
    }
}

/// The text of a value, as `RawValue` takes it.
struct RawValue<'de> {
    text: Option<&'de str>,
}

impl<'de> MapAccess<'de> for RawValue<'de> {
    type Error = Unclear;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Unclear> {
        match self.text {
            Some(_) => seed.deserialize(de::value::BorrowedStrDeserializer::new(RAW_VALUE)).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Unclear> {
        let text = self.text.take().ok_or(Unclear)?;
        seed.deserialize(de::value::BorrowedStrDeserializer::new(text))
    }
}
