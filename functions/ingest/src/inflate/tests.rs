use std::io::{Read as _, Write as _};

use flate2::{Compression, GzBuilder, read::MultiGzDecoder, write::GzEncoder};
use proptest::prelude::*;

use super::*;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// A member whose header has all optional parts.
fn gzip_with_names(text: &[u8]) -> Vec<u8> {
    let builder = GzBuilder::new().extra(vec![7; 300]).filename("a.csv").comment("rows");
    let mut encoder = builder.write(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// The text passed on for data in such chunks, and how it ended.
fn read(data: &[u8], chunk: usize) -> (Vec<u8>, Result<(), InflateError>) {
    let (mut text, mut inflate) = (Vec::new(), Inflate::new(OBJECT_BYTES));
    for chunk in data.chunks(chunk.max(1)) {
        let pushed = inflate.push(chunk, |piece| text.extend_from_slice(piece));
        if pushed.is_err() {
            return (text, pushed);
        }
    }
    let finished = inflate.finish(|piece| text.extend_from_slice(piece));
    (text, finished)
}

#[test]
fn gzip_of_several_members_is_read_to_its_end() {
    let text = b"ID,Severity\n".repeat(10_000);
    assert_eq!(body(&gzip(&text)), Ok(InflatedBody::Text(text.into())));
    assert_eq!(
        body(&[gzip(b"one "), gzip(b""), gzip_with_names(b"two")].concat()).unwrap(),
        InflatedBody::Text("one two".as_bytes().into())
    );
}

#[test]
fn plain_text_is_read_under_any_name() {
    for text in [&b""[..], b"I", b"\x1f", b"ID,Severity\nA,3\n", &b"x".repeat(2_000)] {
        for chunk in [1, 2, 600, usize::MAX] {
            assert_eq!(read(text, chunk), (text.to_vec(), Ok(())));
        }
        assert_eq!(body(text), Ok(InflatedBody::Text(text.into())));
    }
}

#[test]
fn zeros_after_a_member_are_padding() {
    let rows = b"A,3\n".repeat(3_000);
    let padded = [gzip(&rows), vec![0; 512]].concat();
    assert_eq!(read(&padded, 100), (rows.clone(), Ok(())));
    let followed = [padded, gzip(b"B,3\n")].concat();
    assert_eq!(read(&followed, 100), ([&rows[..], b"B,3\n"].concat(), Ok(())));
}

#[test]
fn anything_else_after_a_member_loses_nothing_before_it() {
    let rows = b"A,3\n".repeat(3_000);
    for trailing in [&b"\r\n"[..], b"x", b"\0\0Rows,3\n"] {
        let (text, ended) = read(&[&gzip(&rows), trailing].concat(), usize::MAX);
        assert_eq!(text, rows);
        let error = ended.unwrap_err();
        assert!(matches!(&error, InflateError::Trailing(begin) if trailing.ends_with(begin)), "{error:?}");
        assert!(!error.cuts_rows());
    }
    // A member header with one wrong byte: its member may continue the row.
    for trailing in [&b"\x1f"[..], b"\x1f\x8b", b"\x1f\x8b\x09", b"\x1e\x8b\x08\x00"] {
        let (text, ended) = read(&[&gzip(&rows), trailing].concat(), usize::MAX);
        assert_eq!((text, ended), (rows.clone(), Err(InflateError::Damaged)));
    }
}

#[test]
fn data_in_another_format_is_named() {
    for (data, format) in [
        (b"PK\x03\x04....".to_vec(), "a zip archive or a spreadsheet"),
        (gzip(b"PK\x03\x04...."), "a zip archive or a spreadsheet"),
        (gzip(&gzip(b"ID,Severity\n")), "gzip within gzip"),
    ] {
        for chunk in [1, usize::MAX] {
            assert_eq!(read(&data, chunk), (Vec::new(), Err(InflateError::Foreign(format))));
        }
        assert_eq!(body(&data), Err(InflateError::Foreign(format)));
    }
}

#[test]
fn damaged_gzip_is_an_error() {
    let whole = gzip(&b"ID,Severity\n".repeat(1_000));
    assert_eq!(body(&whole[..whole.len() / 2]), Err(InflateError::Damaged));
    assert_eq!(body(b"\x1f\x8bID,Severity\n"), Err(InflateError::Damaged));
    let mut wrong = whole;
    *wrong.last_mut().unwrap() ^= 1;
    assert_eq!(body(&wrong), Err(InflateError::Damaged));
}

#[test]
fn body_with_much_text_is_only_checked() {
    let text = b"A\n".repeat(HELD_BYTES / 2);
    assert_eq!(body(&gzip(&text)), Ok(InflatedBody::Text(text.clone().into())));
    let long = [&text[..], b"B"].concat();
    assert_eq!(body(&gzip(&long)), Ok(InflatedBody::LongGzip { is_blank: false }));
    let mut damaged = gzip(&long);
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(body(&damaged), Err(InflateError::Damaged));
    let blank = gzip(&vec![b'\n'; HELD_BYTES + 1]);
    assert_eq!(body(&blank), Ok(InflatedBody::LongGzip { is_blank: true }));
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let bomb = gzip(&vec![0; usize::try_from(BODY_BYTES).unwrap() + 1]);
    assert_eq!(body(&bomb), Err(InflateError::TooLarge(BODY_BYTES)));
    let mut passed_on = 0;
    let mut inflate = Inflate::new(1_000_000);
    let result = inflate.push(&bomb, |piece| passed_on += piece.len());
    assert_eq!((result, passed_on), (Err(InflateError::TooLarge(1_000_000)), 1_000_000));
}

proptest! {
    #[test]
    fn all_text_before_the_end_of_the_data_is_passed_on(
        members in proptest::collection::vec("[a-z0-9,\n]{0,400}", 1..4),
        repeat in 1_usize..200,
        chunk in 1_usize..5_000,
        cut in any::<prop::sample::Index>(),
    ) {
        let members: Vec<String> = members.iter().map(|member| member.repeat(repeat)).collect();
        let data: Vec<u8> = members.iter().flat_map(|member| gzip(member.as_bytes())).collect();
        prop_assert_eq!(read(&data, chunk), (members.concat().into_bytes(), Ok(())));

        let cut = &data[..cut.index(data.len())];
        let mut expected = Vec::new();
        let whole = MultiGzDecoder::new(cut).read_to_end(&mut expected).is_ok() || cut.is_empty();
        let (text, ended) = read(cut, chunk);
        // A single byte is not gzip yet.
        if cut.len() > 1 {
            prop_assert_eq!(ended.is_ok(), whole);
            prop_assert!(text.len() >= expected.len() && members.concat().as_bytes().starts_with(&text));
        }
    }

    #[test]
    fn bytes_before_any_damage_are_read(
        rows in proptest::collection::vec("[a-z0-9]{1,30}\n", 1..300),
        chunk in 1_usize..5_000,
        at in any::<prop::sample::Index>(),
        mask in 1_u8..,
    ) {
        let rows = rows.concat();
        let mut data = gzip(rows.as_bytes());
        let at = at.index(data.len());
        data[at] ^= mask;
        let mut expected = Vec::new();
        let whole = MultiGzDecoder::new(&data[..]).read_to_end(&mut expected).is_ok();
        let (text, ended) = read(&data, chunk);
        // The first two bytes make it gzip; damage in some header bytes does not affect the data.
        if at >= 2 && ended.is_err() {
            prop_assert!(!whole && text.starts_with(&expected));
        } else if at >= 2 {
            prop_assert_eq!(text, rows.as_bytes());
        }
    }
}
