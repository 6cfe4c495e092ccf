//! HTTP/2 frames, byte by byte (RFC 9113), and the little of HPACK (RFC 7541) that a request needs: literals that are not
//! indexed, and the one large header of a bomb.

/// What opens a connection.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Length of a frame's head.
pub(super) const HEAD: usize = 9;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RESET: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// A frame as it came.
#[derive(Clone, Debug)]
pub struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) content: Vec<u8>,
}

/// Why a server ends a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goaway {
    /// Error code; 11 is `ENHANCE_YOUR_CALM`.
    pub code: u32,
    /// What it says beside.
    pub debug: String,
}

/// What a server announces; `None` is the protocol's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `SETTINGS_MAX_CONCURRENT_STREAMS`.
    pub streams: Option<u32>,
    /// `SETTINGS_INITIAL_WINDOW_SIZE`.
    pub stream_window: Option<u32>,
    /// `SETTINGS_MAX_FRAME_SIZE`.
    pub frame: Option<u32>,
    /// `SETTINGS_MAX_HEADER_LIST_SIZE`.
    pub header_list: Option<u32>,
    /// Window of the connection: the default and what was added at once.
    pub connection_window: u32,
}

/// A frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), content].concat()
}

/// The head of a gRPC request.
pub(super) fn request(path: &str) -> Vec<u8> {
    // Indexed: POST, http; literals: path, authority.
    let mut block = vec![0x83, 0x86, 0x04];
    string(&mut block, path.as_bytes());
    block.push(0x01);
    string(&mut block, b"coordinator");
    for (name, value) in [("content-type", "application/grpc"), ("te", "trailers")] {
        block.push(0x00);
        string(&mut block, name.as_bytes());
        string(&mut block, value.as_bytes());
    }
    block
}

/// A literal that is kept in the table, as its first entry, and `times` references to it.
pub(super) fn bomb(size: usize, times: usize) -> Vec<u8> {
    let mut block = vec![0x40];
    string(&mut block, b"x");
    string(&mut block, &vec![b'y'; size]);
    block.extend(std::iter::repeat_n(0x80 | 0x3e, times));
    block
}

/// A string: its length with a prefix of seven bits, then its bytes.
fn string(block: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() < 127 {
        block.push(u8::try_from(bytes.len()).unwrap_or_default());
    } else {
        block.push(127);
        let mut rest = bytes.len() - 127;
        while rest >= 128 {
            block.push(u8::try_from(rest % 128).unwrap_or_default() | 128);
            rest /= 128;
        }
        block.push(u8::try_from(rest).unwrap_or_default());
    }
    block.extend_from_slice(bytes);
}

/// A gRPC message that is not compressed.
pub(super) fn message(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0], &length[..], content].concat()
}

impl Settings {
    /// Takes a server's frame over.
    pub(super) fn take(&mut self, frame: &Frame) {
        if frame.kind == WINDOW_UPDATE && frame.stream == 0 {
            self.connection_window += number(&frame.content);
        }
        if frame.kind != SETTINGS || frame.flags & ACK != 0 {
            return;
        }
        for setting in frame.content.chunks_exact(6) {
            let value = Some(number(&setting[2..]));
            match setting[1] {
                3 => self.streams = value,
                4 => self.stream_window = value,
                5 => self.frame = value,
                6 => self.header_list = value,
                _ => {}
            }
        }
    }
}

impl Goaway {
    pub(super) fn read(frame: &Frame) -> Option<Self> {
        let (code, debug) = frame.content.get(4..)?.split_at_checked(4)?;
        Some(Self { code: number(code), debug: String::from_utf8_lossy(debug).into_owned() })
    }
}

pub(super) fn number(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte))
}
