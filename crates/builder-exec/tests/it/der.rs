//! A second encoder, as simple as can be, that can also be told to make one mistake.

/// A DER value: bytes under a tag, or values under a tag.
#[derive(Clone)]
pub(crate) enum Value {
    Bytes(u8, Vec<u8>),
    Values(u8, Vec<Value>),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Mistake {
    /// This tag in place of the right one.
    Tag(u8),
    /// These bytes in place of the length, and no other length changed for it.
    Length(&'static [u8]),
    /// The length in one byte more than it needs.
    LongLength,
    /// One more than the right length, and no other length changed for it.
    LengthPlusOne,
    /// A NULL behind the last value within.
    OneMore,
    /// The last value within left out.
    OneLess,
}

impl Value {
    pub(crate) fn encode(&self) -> Vec<u8> {
        self.encode_at(&mut 0, None)
    }

    /// Makes one mistake in the value with this number, counted as they begin.
    pub(crate) fn encode_with(&self, number: usize, mistake: Mistake) -> Vec<u8> {
        self.encode_at(&mut 0, Some((number, mistake)))
    }

    /// How many values there are, this one and all within.
    pub(crate) fn count(&self) -> usize {
        1 + self.children().iter().map(Value::count).sum::<usize>()
    }

    /// How many bytes come before the value with this number.
    pub(crate) fn offset_of(&self, number: usize) -> usize {
        // A tag of its own marks it: the only byte that differs is where it stands.
        let (right, wrong) = (self.encode(), self.encode_with(number, Mistake::Tag(0x04)));
        right
            .iter()
            .zip(&wrong)
            .position(|(right, wrong)| right != wrong)
            .expect("the tag differs")
    }

    pub(crate) fn children(&self) -> &[Value] {
        match self {
            Value::Bytes(..) => &[],
            Value::Values(_, values) => values,
        }
    }

    fn encode_at(&self, number: &mut usize, mistake: Option<(usize, Mistake)>) -> Vec<u8> {
        let mine = mistake
            .filter(|(at, _)| at == number)
            .map(|(_, mistake)| mistake);
        *number += 1;
        let (mut tag, content) = match self {
            Value::Bytes(tag, bytes) => (*tag, bytes.clone()),
            Value::Values(tag, values) => {
                let mut parts: Vec<_> = values
                    .iter()
                    .map(|value| value.encode_at(number, mistake))
                    .collect();
                match mine {
                    Some(Mistake::OneMore) => parts.push(vec![0x05, 0]),
                    Some(Mistake::OneLess) => drop(parts.pop()),
                    _ => {}
                }
                (*tag, parts.concat())
            }
        };
        let mut length = encode_length(content.len());
        match mine {
            Some(Mistake::Tag(wrong)) => tag = wrong,
            Some(Mistake::Length(wrong)) => length = wrong.to_vec(),
            Some(Mistake::LengthPlusOne) => length = encode_length(content.len() + 1),
            Some(Mistake::LongLength) if length[0] < 0x80 => length.insert(0, 0x81),
            Some(Mistake::LongLength) => {
                length[0] += 1;
                length.insert(1, 0);
            }
            _ => {}
        }
        [vec![tag], length, content].concat()
    }
}

pub(crate) fn sequence(values: impl IntoIterator<Item = Value>) -> Value {
    Value::Values(0x30, values.into_iter().collect())
}

pub(crate) fn explicit(number: u8, value: Value) -> Value {
    Value::Values(0xa0 + number, vec![value])
}

pub(crate) fn string(bytes: &[u8]) -> Value {
    Value::Bytes(0x0c, bytes.to_vec())
}

pub(crate) fn integer(number: i64) -> Value {
    let mut bytes = number.to_be_bytes().to_vec();
    while bytes.len() > 1
        && (bytes[0] == 0 && bytes[1] < 0x80 || bytes[0] == 0xff && bytes[1] >= 0x80)
    {
        bytes.remove(0);
    }
    Value::Bytes(0x02, bytes)
}

pub(crate) fn utc_time(text: &str) -> Value {
    Value::Bytes(0x17, text.into())
}

pub(crate) fn generalized_time(text: &str) -> Value {
    Value::Bytes(0x18, text.into())
}

fn encode_length(length: usize) -> Vec<u8> {
    if length < 0x80 {
        return vec![u8::try_from(length).expect("short")];
    }
    let mut bytes = length.to_be_bytes().to_vec();
    while bytes[0] == 0 {
        bytes.remove(0);
    }
    bytes.insert(0, 0x80 + u8::try_from(bytes.len()).expect("at most 8"));
    bytes
}
