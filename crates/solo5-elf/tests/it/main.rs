//! Unikernels, and files that are none or pretend to be.

mod elf;

mod abi;
mod files;
mod manifest;
