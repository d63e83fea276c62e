//! File formats that cannot contain rows, recognised by their first bytes.

/// Bytes at the beginning that are enough to recognise a format: a tar archive has its mark at byte 257.
pub(crate) const BYTES: usize = 512;

/// The first bytes of formats. No text in UTF-8 that contains rows can begin with them.
const SIGNATURES: [(&[u8], &str); 34] = [
    (b"PK\x03\x04", "a zip archive or a spreadsheet"),
    (b"PK\x05\x06", "a zip archive or a spreadsheet"),
    (b"PK\x07\x08", "a zip archive or a spreadsheet"),
    (b"\x1f\x8b", "gzip within gzip"),
    // Gzip that some program decoded as text: 8b is not a character in UTF-8.
    (b"\x1f\xc2\x8b", "gzip that was damaged by reading it as text"),
    (b"\x1f\xef\xbf\xbd", "gzip that was damaged by reading it as text"),
    (b"\x1f\x9d", "a compress (.Z) archive"),
    (b"\x1f\xa0", "a compress (.Z) archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a rar archive"),
    (b"\x04\x22\x4d\x18", "an lz4 archive"),
    (b"LZIP\x01", "an lzip archive"),
    (b"\x89LZO\x00", "an lzop archive"),
    (b"\xff\x06\x00\x00sNaPpY", "a snappy archive"),
    (b"x\x01", "zlib data"),
    (b"x\x9c", "zlib data"),
    (b"x\xda", "zlib data"),
    (b"MSCF\x00\x00\x00\x00", "a cabinet archive"),
    (b"!<arch>\n", "an ar archive"),
    (b"PAR1\x15", "a Parquet file"),
    (b"ORC\x08", "an ORC file"),
    (b"ORC\x0a", "an ORC file"),
    (b"Obj\x01", "an Avro file"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Word file"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"%PDF-", "a PDF file"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\xff\xfe\x00\x00", "text in UTF-32"),
    (b"\x00\x00\xfe\xff", "text in UTF-32"),
    (b"\xff\xfe", "text in UTF-16"),
    (b"\xfe\xff", "text in UTF-16"),
];

/// The format of the data, if it is known to contain no rows.
pub(crate) fn of(begin: &[u8]) -> Option<&'static str> {
    // Most texts begin with a letter, a brace or a quote; only a few signatures do.
    let listed = SIGNATURES.iter().find(|(signature, _)| begin.starts_with(signature));
    if let Some((_, name)) = listed {
        return Some(name);
    }
    if is_bzip2(begin) {
        return Some("a bzip2 archive");
    }
    if begin.len() > 262 && &begin[257..262] == b"ustar" && begin[..257].contains(&0) {
        return Some("a tar archive");
    }
    is_utf16(begin).then_some("text in UTF-16")
}

/// The mark of bzip2 is text, so the mark of its first block, or of its end, is checked, too.
fn is_bzip2(begin: &[u8]) -> bool {
    matches!(begin, [b'B', b'Z', b'h', b'1'..=b'9', block @ ..]
        if block.starts_with(b"1AY&SY") || block.starts_with(b"\x17\x72\x45\x38\x50\x90"))
}

/// Whether every second byte of the beginning is zero and no other is, as for ASCII characters in UTF-16.
fn is_utf16(begin: &[u8]) -> bool {
    let pairs = begin[..begin.len().min(64)].chunks_exact(2);
    let all = |zero: usize| pairs.clone().all(|pair| pair[zero] == 0 && pair[1 - zero] != 0);
    pairs.len() >= 4 && (all(0) || all(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_and_other_encodings_are_recognised() {
        let mut tar = vec![0; BYTES];
        tar[..5].copy_from_slice(b"a.csv");
        tar[257..262].copy_from_slice(b"ustar");
        let cases: [(&[u8], &str); 12] = [
            (b"PK\x03\x04\x14\x00", "a zip archive or a spreadsheet"),
            (b"BZh91AY&SY..", "a bzip2 archive"),
            (b"BZh9\x17\x72\x45\x38\x50\x90", "a bzip2 archive"),
            (b"\xfd7zXZ\x00..", "an xz archive"),
            (b"\x28\xb5\x2f\xfd..", "a zstd archive"),
            (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
            (b"Rar!\x1a\x07\x01", "a rar archive"),
            (&tar, "a tar archive"),
            (b"\xff\xfeI\0D\0", "text in UTF-16"),
            (b"I\0D\0,\0S\0", "text in UTF-16"),
            (b"\0I\0D\0,\0S", "text in UTF-16"),
            ("\u{1f}\u{8b}\u{8}".as_bytes(), "gzip that was damaged by reading it as text"),
        ];
        for (begin, name) in cases {
            assert_eq!(of(begin), Some(name), "{begin:x?}");
        }
    }

    #[test]
    fn text_with_rows_is_never_mistaken_for_another_format() {
        let ustar = format!("ID,{}ustar\n", "x".repeat(254));
        assert_eq!(&ustar.as_bytes()[257..262], b"ustar");
        for text in [
            "",
            "P",
            "PK,Severity\n",
            "BZh9,Severity\n",
            "BZh9",
            "7z,Severity\n",
            "Rar!,1\n",
            "ORC,Severity\n",
            "PAR1,Severity\n",
            "Obj,Severity\n",
            "x,Severity\n",
            "\u{feff}ID,Severity\n",
            "{\"ID\":\"A\"}",
            "[]",
            "\0\0\0\0\0\0\0\0",
            &ustar,
        ] {
            assert_eq!(of(text.as_bytes()), None, "{text:?}");
        }
    }
}
