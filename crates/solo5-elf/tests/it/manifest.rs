//! The manifest note.

use proptest::collection::vec;
use proptest::prelude::*;
use solo5_elf::DeviceType::{BlockBasic, NetBasic};
use solo5_elf::{Device, Manifest, note};

use crate::elf::{File, note_of, patched, read, refusal, unikernel};

const MFT1: u32 = u32::from_le_bytes(*b"MFT1");

/// Where things are in the content of the note.
const FIRST: usize = 12;
const SECOND: usize = FIRST + 104;

/// A unikernel with this content of its manifest note.
fn file(content: &[u8]) -> Vec<u8> {
    File::with(
        note_of(6, b"Solo5\0", MFT1, content),
        note::abi_note(&unikernel(&[]).abi),
    )
    .bytes()
}

/// The content of the note of a unikernel with one network interface.
fn with_service() -> Vec<u8> {
    note::manifest_note(&unikernel(&[("service", NetBasic)]).manifest)[20..].to_vec()
}

fn refusal_of(content: &[u8]) -> String {
    refusal(&file(content))
}

#[test]
fn the_note_of_a_unikernel_without_devices_is_as_solo5_makes_it() {
    let bytes = note::manifest_note(&unikernel(&[]).manifest);
    let start = b"\x06\0\0\0\x74\0\0\0MFT1Solo5\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0";
    assert_eq!(
        bytes,
        [&start[..], &[0; 68], &[0, 0, 0, 0x40], &[0; 32]].concat()
    );
    assert_eq!(bytes.len(), 136);
}

#[test]
fn devices_are_read_in_their_order() {
    for devices in [
        &[][..],
        &[("service", NetBasic)],
        &[
            ("storage", BlockBasic),
            ("service", NetBasic),
            ("a", BlockBasic),
        ],
    ] {
        let unikernel = unikernel(devices);
        assert_eq!(read(&File::of(&unikernel).bytes()).unwrap(), unikernel);
    }
    assert_eq!(
        [NetBasic, BlockBasic].map(|kind| kind.to_string()),
        ["NET_BASIC", "BLOCK_BASIC"]
    );
}

#[test]
fn there_may_be_63_devices_and_no_more() {
    let sixty_three = unikernel(&[("service", NetBasic); 63]);
    assert_eq!(read(&File::of(&sixty_three).bytes()).unwrap(), sixty_three);
    let sixty_four = unikernel(&[("service", NetBasic); 64]);
    assert_eq!(
        refusal(&File::of(&sixty_four).bytes()),
        "manifest: too many entries: 65"
    );
}

#[test]
fn a_name_has_67_bytes_at_most() {
    let longest = "n".repeat(67);
    let unikernel = unikernel(&[(&longest, NetBasic)]);
    assert_eq!(read(&File::of(&unikernel).bytes()).unwrap(), unikernel);
    let unterminated = patched(with_service(), SECOND, &[b'n'; 68]);
    assert_eq!(
        refusal_of(&unterminated),
        "manifest: unterminated device name"
    );
    let cut = note::manifest_note(&Manifest {
        version: 1,
        devices: vec![Device {
            name: "n".repeat(100),
            kind: NetBasic,
        }],
    });
    assert_eq!(cut, note::manifest_note(&unikernel.manifest));
}

#[test]
fn a_name_may_hold_any_bytes_and_ends_at_the_first_nul() {
    let name = |bytes: &[u8]| {
        read(&file(&patched(with_service(), SECOND, bytes)))
            .unwrap()
            .manifest
            .devices[0]
            .name
            .clone()
    };
    assert_eq!(name(b"\xff\"<\0rest"), "\u{fffd}\"<");
    assert_eq!(name(&[0; 68]), "");
}

#[test]
fn a_manifest_of_another_version_is_refused() {
    assert_eq!(
        refusal_of(&patched(with_service(), 4, &[2])),
        "manifest: unsupported version: 2"
    );
    assert_eq!(
        refusal_of(&patched(with_service(), 7, &[1])),
        "manifest: unsupported version: 16777217"
    );
}

#[test]
fn the_number_of_entries_must_agree_with_the_size() {
    assert_eq!(refusal_of(&[]), "manifest: too small");
    assert_eq!(refusal_of(&with_service()[..115]), "manifest: too small");
    assert_eq!(
        refusal_of(&with_service()[..116]),
        "manifest: 2 entries in 116 bytes"
    );
    assert_eq!(
        refusal_of(&with_service()[..219]),
        "manifest: 2 entries in 219 bytes"
    );
    assert_eq!(
        refusal_of(&[with_service(), vec![0; 4]].concat()),
        "manifest: 2 entries in 224 bytes"
    );
    assert_eq!(
        refusal_of(&patched(with_service(), 8, &[0])),
        "manifest: zero entries"
    );
    assert_eq!(
        refusal_of(&patched(with_service(), 8, &[3])),
        "manifest: 3 entries in 220 bytes"
    );
    assert_eq!(
        refusal_of(&patched(with_service(), 8, &[0xff; 4])),
        "manifest: too many entries: 4294967295"
    );
}

#[test]
fn the_first_entry_must_be_the_reserved_one() {
    let message = "manifest: the first entry is not the reserved one";
    for (offset, bytes) in [
        (68, &[2, 0, 0, 0][..]),
        (68, &[9]),
        (0, b"x"),
        (67, b"x"),
        (0, &[1; 68]),
        (72, &[1]),
        (95, &[1]),
        (96, &[1]),
    ] {
        assert_eq!(
            refusal_of(&patched(with_service(), FIRST + offset, bytes)),
            message,
            "{offset}"
        );
    }
}

#[test]
fn no_other_entry_may_be_the_reserved_one() {
    let reserved = patched(with_service(), SECOND + 68, &[0, 0, 0, 0x40]);
    assert_eq!(
        refusal_of(&reserved),
        "manifest: a reserved entry with a name"
    );
    assert_eq!(
        refusal_of(&patched(reserved, SECOND, &[0; 68])),
        "manifest: a reserved entry that is not the first"
    );
}

#[test]
fn an_entry_of_unknown_type_is_refused() {
    for kind in [0_u32, 3, 0x4000_0001, u32::MAX] {
        let content = patched(with_service(), SECOND + 68, &kind.to_le_bytes());
        assert_eq!(
            refusal_of(&content),
            format!("manifest: unknown entry type: {kind}")
        );
    }
}

#[test]
fn what_the_host_fills_in_must_be_zero() {
    for (from, to, field) in [(72, 88, "u"), (88, 96, "b"), (96, 97, "attached")] {
        for offset in from..to {
            let content = patched(with_service(), SECOND + offset, &[1]);
            assert_eq!(
                refusal_of(&content),
                format!("manifest: non-zero {field} in an entry"),
                "{offset}"
            );
        }
    }
}

#[test]
fn padding_is_not_looked_at() {
    let mut content = patched(with_service(), 0, &[0xff; 4]);
    for entry in [FIRST, SECOND] {
        content = patched(content, entry + 97, &[0xff; 7]);
    }
    assert_eq!(
        read(&file(&content)).unwrap(),
        unikernel(&[("service", NetBasic)])
    );
}

proptest! {
    #[test]
    fn any_devices_come_back(devices in vec(("[^\0]{0,16}", any::<bool>()), 0..64)) {
        let kind = |net: &bool| if *net { NetBasic } else { BlockBasic };
        let devices: Vec<_> = devices.iter().map(|(name, net)| (name.as_str(), kind(net))).collect();
        let unikernel = unikernel(&devices);
        prop_assert_eq!(read(&File::of(&unikernel).bytes()).unwrap(), unikernel);
    }

    #[test]
    fn no_content_makes_it_panic(content in vec(any::<u8>(), 0..400)) {
        let _ = read(&file(&content));
    }
}
