//! `.pyc` headers and the hash of sources.

use instrument::pyc::{Header, Validation, read, source_hash, write_header};
use instrument::{ErrorKind, PyVersion};

use crate::fixtures;

#[test]
fn fixtures_are_of_their_source() {
    for fixture in fixtures::all() {
        let expected = Header {
            version: fixture.version,
            validation: Validation::Hash {
                checked: false,
                hash: source_hash(fixture.version, &fixture.source),
            },
        };
        assert_eq!(
            fixture.header(),
            expected,
            "{}: run fixtures/pyc/regenerate.py",
            fixture.label()
        );
    }
}

/// `_imp.source_hash(_imp.pyc_magic_number_token, source)` of each interpreter.
#[test]
fn source_hash_known_answers() {
    let long: Vec<u8> = (0..=255).collect();
    let sources: [&[u8]; 4] = [b"", b"x = 1\n", b"12345678", &long];
    let known = [
        (
            PyVersion::V311,
            [
                0x737f_e8d5_d59c_8d73,
                0x5252_f793_aa72_034c,
                0xe4b0_9142_749d_2834,
                0xbe17_40a0_ab10_af1d,
            ],
        ),
        (
            PyVersion::V312,
            [
                0x257a_38c9_ed8e_f1ba,
                0x08df_f517_1956_2215,
                0x34bb_5e50_c8c1_ef64,
                0x67ea_da89_8e31_f5b1,
            ],
        ),
        (
            PyVersion::V313,
            [
                0x14b8_932f_316d_ec27,
                0x0e12_5136_89e2_86e7,
                0x7983_a6a5_343e_c2e0,
                0xd34c_5661_a329_e358,
            ],
        ),
        (
            PyVersion::V314,
            [
                0xa46a_3a65_cbb7_f561,
                0xa782_a25c_32b6_b21d,
                0x996b_c620_d57b_d50d,
                0x7bf5_2e43_7686_fd5e,
            ],
        ),
        (
            PyVersion::V315,
            [
                0x07fc_7f2b_e734_3c4a,
                0xfd41_c434_6fdb_aba8,
                0xb067_1a1c_0465_e118,
                0xdaa6_8ed7_318a_888d,
            ],
        ),
    ];
    for (version, answers) in known {
        for (source, answer) in sources.into_iter().zip(answers) {
            let hash = u64::from_le_bytes(source_hash(version, source));
            assert_eq!(hash, answer, "{version}, {} bytes", source.len());
        }
    }
}

#[test]
fn headers_survive_writing() {
    for version in PyVersion::ALL {
        for validation in [
            Validation::Timestamp { mtime: 0, size: 0 },
            Validation::Timestamp {
                mtime: u32::MAX,
                size: 0x0102_0304,
            },
            Validation::Hash {
                checked: true,
                hash: *b"\0\x01\x02\x03\xff\xfe\xfd\xfc",
            },
            Validation::Hash {
                checked: false,
                hash: [7; 8],
            },
        ] {
            let header = Header {
                version,
                validation,
            };
            let mut bytes = write_header(header).to_vec();
            bytes.extend(b"body");
            assert_eq!(read(&bytes), Ok((header, &b"body"[..])));
        }
    }
}

#[test]
fn strange_headers_are_refused() {
    let good = fixtures::one(PyVersion::V312, "layout").pyc;
    let broken = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        read(&bytes).map(drop).map_err(|error| error.kind)
    };
    assert_eq!(broken(0, 0xff), Err(ErrorKind::UnknownMagic(0x0dff)));
    assert_eq!(broken(2, b'\n'), Err(ErrorKind::NotPyc));
    assert_eq!(broken(3, b'\r'), Err(ErrorKind::NotPyc));
    assert_eq!(broken(4, 2), Err(ErrorKind::BadPycFlags(2)));
    assert_eq!(broken(4, 5), Err(ErrorKind::BadPycFlags(5)));
    assert_eq!(broken(7, 1), Err(ErrorKind::BadPycFlags(0x0100_0001)));
    assert_eq!(broken(4, 3), Ok(()));
    for length in 0..16 {
        let error = read(&good[..length]).expect_err("too short");
        assert_eq!(error.kind, ErrorKind::ShortHeader);
    }
}

#[test]
fn magic_numbers_name_one_version() {
    for version in PyVersion::ALL {
        assert_eq!(PyVersion::from_magic(version.magic()), Some(version));
        assert_eq!(PyVersion::from_minor(version.minor()), Some(version));
    }
    assert_eq!(PyVersion::from_magic(3413), None);
    assert_eq!(PyVersion::from_minor(10), None);
}
