//! A machine that fails under the real program: full and read-only disks, calls that fail, a clock
//! that goes back, a database that others lock. Whatever happens, no build is lost that was
//! answered 201, none is half there, and the server goes on when the fault is gone.

pub(crate) mod acts;
mod around;
mod forgotten;
mod machine;
mod order;
mod uploads;
