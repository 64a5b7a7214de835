//! Key-value lists, `key=value,key,key=[a,b]`, as `rte_kvargs_parse` accepts them.

/// More pairs than this are refused, as in DPDK (`RTE_KVARGS_MAX`).
pub const MAX_PAIRS: usize = 32;

/// One `key=value`, or a key alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// The key; empty in `=value`.
    pub key: &'a [u8],
    /// The value; `None` for a key without `=`.
    pub value: Option<&'a [u8]>,
}

/// Splits `text` into its pairs, or `None` when there are more than [`MAX_PAIRS`].
///
/// A comma between `[` and `]` belongs to the value; an `=` inside a value restarts it, so
/// `a=b=c` has the value `c`; empty pairs are dropped.
pub fn parse(text: &[u8]) -> Option<Vec<Pair<'_>>> {
    let mut pairs = Vec::new();
    for item in split_outside_brackets(text) {
        // The slot of a pair is claimed before it is known to be empty.
        if pairs.len() >= MAX_PAIRS {
            return None;
        }
        if let Some(pair) = pair(item) {
            pairs.push(pair);
        }
    }
    Some(pairs)
}

/// The value of the first pair with this key.
pub fn get<'a>(pairs: &[Pair<'a>], key: &[u8]) -> Option<&'a [u8]> {
    pairs.iter().find(|p| p.key == key).and_then(|p| p.value)
}

fn pair(item: &[u8]) -> Option<Pair<'_>> {
    let Some(first) = item.iter().position(|b| *b == b'=') else {
        return (!item.is_empty()).then_some(Pair { key: item, value: None });
    };
    let last = item.iter().rposition(|b| *b == b'=').unwrap_or(first);
    // Each further '=' ends a key again: the key is what stood before the last one but one.
    let before = &item[..last];
    let key_start = before.iter().rposition(|b| *b == b'=').map_or(0, |at| at + 1);
    Some(Pair { key: &before[key_start..], value: Some(&item[last + 1..]) })
}

fn split_outside_brackets(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut in_list = false;
    text.split(move |byte| {
        match byte {
            b'[' => in_list = true,
            b']' => in_list = false,
            _ => {}
        }
        *byte == b',' && !in_list
    })
}
