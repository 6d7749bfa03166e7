//! The ABI note.

use solo5_elf::{Abi, Target, Unikernel, note};

use crate::elf::{File, note_of, patched, read, refusal, unikernel};

const ABI1: u32 = u32::from_le_bytes(*b"ABI1");

/// A unikernel with this content of its ABI note.
fn file(content: &[u8]) -> Vec<u8> {
    File::with(
        note::manifest_note(&unikernel(&[]).manifest),
        note_of(6, b"Solo5\0", ABI1, content),
    )
    .bytes()
}

#[test]
fn the_note_of_an_hvt_unikernel_is_as_solo5_makes_it() {
    let bytes = note::abi_note(&Abi {
        target: Target::Hvt,
        version: 2,
    });
    let hex: Vec<String> = bytes
        .chunks(4)
        .map(|four| four.iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    assert_eq!(
        hex.join(" "),
        "06000000 10000000 41424931 536f6c6f 35000000 01000000 02000000 00000000 00000000"
    );
}

#[test]
fn each_target_is_known_by_its_name() {
    let targets = [
        Target::Hvt,
        Target::Spt,
        Target::Virtio,
        Target::Muen,
        Target::Genode,
        Target::Xen,
    ];
    for target in targets {
        let unikernel = Unikernel {
            abi: Abi { target, version: 7 },
            ..unikernel(&[])
        };
        assert_eq!(read(&File::of(&unikernel).bytes()).unwrap(), unikernel);
    }
    let names: Vec<String> = targets.iter().map(ToString::to_string).collect();
    assert_eq!(names.join(" "), "hvt spt virtio muen genode xen");
}

#[test]
fn any_version_is_accepted() {
    for version in [0, 1, u32::MAX] {
        let unikernel = Unikernel {
            abi: Abi {
                target: Target::Spt,
                version,
            },
            ..unikernel(&[])
        };
        assert_eq!(
            read(&File::of(&unikernel).bytes()).unwrap().abi.version,
            version
        );
    }
}

#[test]
fn an_unknown_target_is_refused() {
    for target in [0_u8, 7] {
        let content = patched(vec![0; 16], 0, &[target]);
        assert_eq!(
            refusal(&file(&content)),
            format!("ABI: unknown target: {target}")
        );
    }
}

#[test]
fn reserved_numbers_must_be_zero() {
    let content = patched(vec![0; 16], 0, &[1]);
    assert_eq!(
        refusal(&file(&patched(content.clone(), 11, &[1]))),
        "ABI: non-zero reserved0"
    );
    assert_eq!(
        refusal(&file(&patched(content, 12, &[1]))),
        "ABI: non-zero reserved1"
    );
}

#[test]
fn the_size_must_be_right() {
    for size in [0, 4, 15, 17, 20] {
        let content = patched(vec![0; 20], 0, &[1]);
        assert_eq!(
            refusal(&file(&content[..size])),
            format!("ABI: 16 bytes wanted, {size} found")
        );
    }
}
