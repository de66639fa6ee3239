//! A trace, and the one way to one: from a file, whole.

use std::path::Path;

use crate::error::{At, Fault, Place, TraceError};
use crate::format::{Contents, Format};
use crate::input::Input;
use crate::records;
use crate::requests::{Request, Requests};
use crate::text;

/// The length of a key that is a number.
const RECORD_KEY_LEN: usize = 8;

/// Requests, in order.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The file's name, without what says its format.
    pub name: String,
    /// In the order of the file.
    pub requests: Vec<Request>,
    /// How many different keys there are: `0..unique` are all in use.
    pub unique: u64,
    /// What the values of all keys weigh together.
    pub unique_bytes: u64,
    /// Whether the file tells sizes; where it does not, each is 1.
    pub sized: bool,
    /// By key; empty where keys are numbers.
    key_lens: Vec<u16>,
}

impl Trace {
    /// Reads a file, in the format that its name says; see the crate's page. `progress` is told now and then how many
    /// bytes of the file were read, and how many it has (0 where it is no file on a disk).
    ///
    /// # Errors
    /// Whatever is wrong with the file, and where. There is no part of a trace.
    pub fn read(file: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Self, TraceError> {
        Self::whole(file, progress).map_err(|(place, fault)| TraceError {
            file: file.to_owned(),
            place,
            fault,
        })
    }

    fn whole(file: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Self, At> {
        let Format { name, packed, contents } = Format::of(file);
        let mut input = Input::open(file, packed, progress)?;
        let mut requests = Requests::default();
        let (sized, key_lens) = match contents {
            Contents::Records => (records::read(&mut input, &mut requests)?, Vec::new()),
            Contents::Text(by) => told(text::read(&mut input, Some(by), &mut requests)?),
            Contents::SomeText => told(text::read(&mut input, None, &mut requests)?),
        };
        if requests.list.is_empty() {
            return Err((Place::File, Fault::Empty));
        }
        let (unique, unique_bytes) = (requests.unique(), requests.unique_bytes);
        Ok(Self { name, requests: requests.list, unique, unique_bytes, sized, key_lens })
    }

    /// How many bytes the key has: 8 where keys are numbers. At most 65,535 are told.
    pub fn key_len(&self, key: u32) -> usize {
        self.key_lens.get(key as usize).map_or(RECORD_KEY_LEN, |&len| usize::from(len))
    }
}

fn told(text: text::Told) -> (bool, Vec<u16>) {
    (text.sized, text.key_lens)
}
