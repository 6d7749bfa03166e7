//! How much memory the allocator may hold on to.
//!
//! glibc gives threads up to eight arenas a core, and each keeps what was freed in it. A server has
//! some hundred threads that take turns at reading a binary or a large page: under load it came to
//! 200 MiB, of which half was in use at no time. With two arenas it is as fast. glibc reads the
//! setting from the environment before `main`, so the server starts itself once more with it.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

const VARIABLE: &str = "MALLOC_ARENA_MAX";
const ARENAS_MAX: &str = "2";

/// Continues as the same process with few arenas, unless the environment says how many.
pub(super) fn few() {
    if !cfg!(target_env = "gnu") || env::var_os(VARIABLE).is_some() {
        return;
    }
    let mut arguments = env::args_os();
    let (Ok(program), Some(name)) = (env::current_exe(), arguments.next()) else {
        return;
    };
    // Returns only if that fails; then the server takes more memory.
    let _error: std::io::Error = Command::new(program)
        .arg0(name)
        .args(arguments)
        .env(VARIABLE, ARENAS_MAX)
        .exec();
}
