//! The ABI note: the kind of host a unikernel runs on.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;

use crate::{Error, malformed};

/// The kind of host a unikernel runs on, and the version of what they agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Abi {
    /// The kind of host.
    pub target: Target,
    /// The version, counted by each target for itself. Any is accepted.
    pub version: u32,
}

/// A kind of host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// A hardware virtual machine with a tender of its own, as on KVM.
    Hvt,
    /// A process of Linux that may make few system calls.
    Spt,
    /// A virtual machine with virtio devices, as of QEMU.
    Virtio,
    /// The Muen separation kernel.
    Muen,
    /// The Genode framework.
    Genode,
    /// The Xen hypervisor.
    Xen,
}

impl Target {
    /// `hvt`, as Solo5 calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Target::Hvt => "hvt",
            Target::Spt => "spt",
            Target::Virtio => "virtio",
            Target::Muen => "muen",
            Target::Genode => "genode",
            Target::Xen => "xen",
        }
    }

    fn number(self) -> u32 {
        match self {
            Target::Hvt => 1,
            Target::Spt => 2,
            Target::Virtio => 3,
            Target::Muen => 4,
            Target::Genode => 5,
            Target::Xen => 6,
        }
    }

    fn from_number(number: u32) -> Option<Target> {
        let all = [
            Target::Hvt,
            Target::Spt,
            Target::Virtio,
            Target::Muen,
            Target::Genode,
            Target::Xen,
        ];
        all.into_iter().find(|target| target.number() == number)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Four numbers, little-endian in any file: target, version, and two that are zero.
pub(crate) fn parse(descriptor: &[u8]) -> Result<Abi, Error> {
    let (numbers, []) = descriptor.as_chunks::<4>() else {
        return Err(wrong_size(descriptor));
    };
    let &[target, version, reserved0, reserved1] = numbers else {
        return Err(wrong_size(descriptor));
    };
    let number = u32::from_le_bytes(target);
    let target = Target::from_number(number)
        .ok_or_else(|| malformed("ABI", format!("unknown target: {number}")))?;
    for (name, reserved) in [("reserved0", reserved0), ("reserved1", reserved1)] {
        if reserved != [0; 4] {
            return Err(malformed("ABI", format!("non-zero {name}")));
        }
    }
    Ok(Abi {
        target,
        version: u32::from_le_bytes(version),
    })
}

fn wrong_size(descriptor: &[u8]) -> Error {
    malformed(
        "ABI",
        format!("16 bytes wanted, {} found", descriptor.len()),
    )
}

pub(crate) fn descriptor(abi: &Abi) -> Vec<u8> {
    [abi.target.number(), abi.version, 0, 0]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect()
}
