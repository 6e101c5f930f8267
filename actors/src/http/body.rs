//! Collects a body: bounded while it streams, decompressed, and only if it is complete.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;

use super::error::{HttpError, HttpErrorKind};

/// What is sent as `Accept-Encoding`.
pub(super) const ACCEPT_ENCODING: &str = "gzip";

/// A body on its way in.
///
/// The limit holds for decompressed bytes and is checked as they appear, so that a small bomb never becomes a large one.
pub(super) struct Collector {
    decoder: Decoder,
    /// Bytes from the wire so far.
    received: u64,
    /// How many there must be, if the peer said so.
    announced: Option<u64>,
    limit: usize,
}

enum Decoder {
    Identity(Bounded),
    Gzip(Box<MultiGzDecoder<Bounded>>),
}

impl Collector {
    /// A collector for a body with these headers.
    ///
    /// # Errors
    /// If the encoding is not one that was asked for, or the announced length is beyond the limit.
    pub(super) fn new(encoding: Option<&str>, announced: Option<u64>, limit: usize) -> Result<Self, HttpError> {
        let bytes = Bounded { bytes: Vec::new(), limit };
        let decoder = match encoding.map(|encoding| encoding.trim().to_ascii_lowercase()).as_deref() {
            None | Some("" | "identity") => Decoder::Identity(bytes),
            Some("gzip" | "x-gzip") => Decoder::Gzip(Box::new(MultiGzDecoder::new(bytes))),
            Some(_) => {
                return Err(HttpError::new(
                    HttpErrorKind::Encoding,
                    "the answer is compressed in a way that was not asked for (only gzip was)",
                ));
            }
        };
        let too_much = |length: u64| usize::try_from(length).map_or(true, |length| length > limit);
        if matches!(decoder, Decoder::Identity(_)) && announced.is_some_and(too_much) {
            return Err(HttpError::too_large(limit));
        }
        Ok(Self { decoder, received: 0, announced, limit })
    }

    /// Takes the next bytes from the wire.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), HttpError> {
        self.received += chunk.len() as u64;
        let written = match &mut self.decoder {
            Decoder::Identity(bytes) => bytes.write_all(chunk),
            Decoder::Gzip(decoder) => decoder.write_all(chunk),
        };
        written.map_err(|error| self.failure(&error))
    }

    /// The whole body.
    ///
    /// # Errors
    /// If it is shorter than announced, or its compression broke off.
    pub(super) fn finish(self) -> Result<Vec<u8>, HttpError> {
        if self.announced.is_some_and(|announced| announced != self.received) {
            return Err(HttpError::cut_off());
        }
        let limit = self.limit;
        match self.decoder {
            Decoder::Identity(bounded) => Ok(bounded.bytes),
            Decoder::Gzip(_) if self.received == 0 => Ok(Vec::new()),
            Decoder::Gzip(decoder) => {
                decoder.finish().map(|bounded| bounded.bytes).map_err(|error| failure(&error, limit))
            }
        }
    }

    fn failure(&self, error: &io::Error) -> HttpError {
        failure(error, self.limit)
    }
}

fn failure(error: &io::Error, limit: usize) -> HttpError {
    match error.kind() {
        io::ErrorKind::FileTooLarge => HttpError::too_large(limit),
        io::ErrorKind::UnexpectedEof => HttpError::cut_off(),
        _ => HttpError::new(HttpErrorKind::Encoding, "the answer is not the gzip that it claims to be"),
    }
}

/// Bytes up to a limit.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl Write for Bounded {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        if chunk.len() > self.limit - self.bytes.len() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(chunk);
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn collect(encoding: &str, chunks: &[&[u8]], limit: usize) -> Result<Vec<u8>, HttpErrorKind> {
        let mut collector = Collector::new(Some(encoding), None, limit).map_err(|error| error.kind)?;
        for chunk in chunks {
            collector.push(chunk).map_err(|error| error.kind)?;
        }
        collector.finish().map_err(|error| error.kind)
    }

    #[test]
    fn gzip_is_decompressed_however_it_is_cut() {
        let body = gzip(b"hello, hello, hello");
        let bytewise: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(collect("gzip", &[&body], 19), Ok(b"hello, hello, hello".to_vec()));
        assert_eq!(collect("GZIP", &bytewise, 19), Ok(b"hello, hello, hello".to_vec()));
        assert_eq!(collect("gzip", &[&gzip(b"a"), &gzip(b"b")], 2), Ok(b"ab".to_vec()), "two members are one body");
        assert_eq!(collect("gzip", &[], 2), Ok(Vec::new()));
    }

    #[test]
    fn broken_gzip_is_no_body() {
        let body = gzip(b"12345678");
        for end in 1..body.len() {
            let kind = collect("gzip", &[&body[..end]], 100).expect_err("cut");
            assert!(
                matches!(kind, HttpErrorKind::Transport | HttpErrorKind::Encoding),
                "cut after {end} bytes: {kind}"
            );
        }
        let mut wrong = body.clone();
        let crc = wrong.len() - 6;
        wrong[crc] ^= 1;
        assert_eq!(collect("gzip", &[&wrong], 100), Err(HttpErrorKind::Encoding));
        assert_eq!(collect("gzip", &[b"{\"plain\": true}"], 100), Err(HttpErrorKind::Encoding));
        assert_eq!(collect("br", &[b"x"], 100), Err(HttpErrorKind::Encoding));
    }

    #[test]
    fn the_limit_holds_for_what_was_decompressed() {
        let bomb = gzip(&vec![b' '; 50_000_000]);
        assert!(bomb.len() < 100_000);
        let mut collector = Collector::new(Some("gzip"), None, 1_000).unwrap();
        assert_eq!(collector.push(&bomb).expect_err("a bomb").kind, HttpErrorKind::TooLarge);
        let Decoder::Gzip(decoder) = &collector.decoder else { panic!("gzip") };
        assert!(decoder.get_ref().bytes.capacity() <= 2_000);
        assert_eq!(collect("identity", &[b"123", b"45"], 5), Ok(b"12345".to_vec()));
        assert_eq!(collect("identity", &[b"123", b"456"], 5), Err(HttpErrorKind::TooLarge));
        assert_eq!(Collector::new(None, Some(6), 5).err().map(|error| error.kind), Some(HttpErrorKind::TooLarge));
    }

    #[test]
    fn a_body_of_another_length_than_announced_is_cut_off() {
        let mut collector = Collector::new(None, Some(5), 100).unwrap();
        collector.push(b"1234").unwrap();
        assert_eq!(collector.finish().expect_err("too short").message, "the answer was cut off");
    }
}
