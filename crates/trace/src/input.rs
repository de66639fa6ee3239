//! The bytes of a file, unpacked if they are packed, and counted for whoever waits.
//!
//! What is read ahead of its use is not counted, so the count is also where in the file a fault shows, to a block of the
//! compressed stream.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use crate::error::{At, Fault, Place};

/// As `zstd --long=27` writes them: a decoder takes up to 128 MiB for such a stream, and refuses those that want more.
const WINDOW_LOG: u32 = 27;

/// How much of a file is asked for at once.
const BLOCK_BYTES: usize = 128 * 1024;

/// An open file.
pub(crate) struct Input<'p> {
    reader: Box<dyn BufRead>,
    packed: bool,
    used: Rc<Cell<u64>>,
    of: u64,
    progress: &'p mut dyn FnMut(u64, u64),
}

impl<'p> Input<'p> {
    pub(crate) fn open(file: &Path, packed: bool, progress: &'p mut dyn FnMut(u64, u64)) -> Result<Self, At> {
        let whole = |error| (Place::File, Fault::Read(error));
        let file = File::open(file).map_err(whole)?;
        let of = file.metadata().map_err(whole)?.len();
        let used = Rc::new(Cell::new(0));
        let counted = Counted { reader: BufReader::with_capacity(BLOCK_BYTES, file), used: Rc::clone(&used) };
        let reader: Box<dyn BufRead> = if packed {
            let mut decoder = zstd::Decoder::with_buffer(counted).map_err(whole)?;
            decoder.window_log_max(WINDOW_LOG).map_err(whole)?;
            Box::new(BufReader::with_capacity(BLOCK_BYTES, decoder))
        } else {
            Box::new(counted)
        };
        Ok(Self { reader, packed, used, of, progress })
    }

    /// Tells how far it is. Once in a while, since whoever is told may draw.
    pub(crate) fn report(&mut self) {
        (self.progress)(self.used.get(), self.of);
    }

    /// A place in what is read.
    pub(crate) fn place(&self, byte: u64) -> Place {
        if self.packed { Place::Unpacked(byte) } else { Place::Byte(byte) }
    }

    /// As many bytes as there are, up to the length of `bytes`.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) -> Result<usize, At> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.reader.read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.fault(error)),
            }
        }
        Ok(filled)
    }

    /// Appends what is there up to a line end and with it, or `limit` bytes of it.
    pub(crate) fn line(&mut self, line: &mut Vec<u8>, limit: usize) -> Result<usize, At> {
        let read = (&mut self.reader).take(limit as u64).read_until(b'\n', line);
        read.map_err(|error| self.fault(error))
    }

    fn fault(&self, error: io::Error) -> At {
        let fault = match error.kind() {
            // The system's own errors have numbers, the decoder's do not.
            _ if !self.packed || error.raw_os_error().is_some() => Fault::Read(error),
            io::ErrorKind::UnexpectedEof => Fault::CutOff,
            _ => Fault::Damaged(error),
        };
        (Place::Byte(self.used.get()), fault)
    }
}

/// Counts what is taken out of a reader.
struct Counted<R> {
    reader: R,
    used: Rc<Cell<u64>>,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(bytes)?;
        self.used.set(self.used.get() + read as u64);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.used.set(self.used.get() + bytes as u64);
        self.reader.consume(bytes);
    }
}
