/* A machine that fails, for the program under test: loaded before the C library (LD_PRELOAD), it
   counts the calls that concern files below one directory, lets those fail that a test wants to
   fail, and writes down the order of those that succeeded. It can also turn back the clock, cut
   short the waits of SQLite, and flip a bit of a file as it is read, which changes nothing else of it. The program itself knows nothing of it.

   FAULTS_CONTROL names a file of eight-byte numbers, as in `enum control`, which the test writes
   while the program runs. FAULTS_BELOW is the directory, FAULTS_LOG the file of the order. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum control {
  KINDS,     /* kinds of calls that are counted, as bits of `enum kind` */
  FIRST,     /* the first of these that fails, counted from one */
  COUNT,     /* how many fail from there on */
  ERROR,     /* with which errno; one below 0 kills */
  SEEN,      /* how many were counted */
  FAILED,    /* how many failed */
  CLOCK,     /* seconds that the clock of the day is off */
  LOGGING,   /* whether the order is written down */
  IMPATIENT, /* whether waits of SQLite end at once */
  FORGETFUL, /* the inode of a file of which the disk has forgotten a bit */
  FORGOTTEN, /* in which byte */
  CONTROLS
};

enum kind {
  OPEN_TO_READ = 1,
  OPEN_TO_WRITE = 2,
  MAKE_DIRECTORY = 4,
  WRITE = 8,
  SYNC = 16,
  RENAME = 32,
  REMOVE = 64,
  READ = 128,
  RESIZE = 256,
  GROW = 512 /* what takes room on the disk that is not there: blocks of a file that becomes longer */
};

static int64_t *control;
static const char *below;
static size_t below_length;
static int log_file = -1;

#define REAL(result, name, ...)                                                                    \
  static result (*real)(__VA_ARGS__);                                                              \
  if (!real) real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void start(void) {
  const char *path = getenv("FAULTS_CONTROL");
  const char *log = getenv("FAULTS_LOG");
  below = getenv("FAULTS_BELOW");
  if (!path || !below) return;
  below_length = strlen(below);
  int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
  if (file < 0) abort();
  void *mapped = mmap(NULL, CONTROLS * sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (mapped == MAP_FAILED) abort();
  syscall(SYS_close, file);
  if (log)
    log_file = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  control = mapped;
}

static int64_t get(enum control number) { return __atomic_load_n(&control[number], __ATOMIC_SEQ_CST); }

static int concerns(const char *path) {
  return strncmp(path, below, below_length) == 0 && (path[below_length] == '/' || !path[below_length]);
}

/* The path of an open file. */
static void path_of(int file, char path[4096]) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, 4095);
  path[length < 0 ? 0 : length] = 0;
}

static void path_at(int directory, const char *name, char path[4096]) {
  if (*name == '/' || directory == AT_FDCWD) {
    snprintf(path, 4096, "%s", name);
    return;
  }
  path_of(directory, path);
  size_t length = strlen(path);
  snprintf(path + length, 4096 - length, "/%s", name);
}

/* Whether this call is to fail; errno is set then. */
static int fails(int kind, const char *path) {
  if (!control || !(get(KINDS) & kind) || !concerns(path)) return 0;
  int64_t number = __atomic_add_fetch(&control[SEEN], 1, __ATOMIC_SEQ_CST);
  int64_t first = get(FIRST), count = get(COUNT);
  if (!first || number < first || number - first >= count) return 0;
  __atomic_add_fetch(&control[FAILED], 1, __ATOMIC_SEQ_CST);
  errno = (int)get(ERROR);
  if (errno < 0) kill(getpid(), SIGKILL);
  return 1;
}

static int64_t blocks(int64_t bytes) { return (bytes + 4095) / 4096; }

/* Whether the disk has no room for what is written to an open file up to `end`; errno is set then.
   What files give up that are `cut` can be had again; one that is made longer so takes nothing. */
static int is_full(int file, int64_t end, int cut) {
  static int64_t given_up;
  struct stat status;
  char path[4096];
  if (!control || !(get(KINDS) & GROW)) return 0;
  path_of(file, path);
  if (!concerns(path) || fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) return 0;
  int64_t more = blocks(end) - blocks(status.st_size);
  if (more > 0 && cut) return 0;
  if (more > 0 ? more <= __atomic_load_n(&given_up, __ATOMIC_SEQ_CST) : cut) {
    __atomic_sub_fetch(&given_up, more, __ATOMIC_SEQ_CST);
    return 0;
  }
  return more > 0 && fails(GROW, path);
}

/* Where the next bytes of an open file are written. */
static int64_t end_of(int file) {
  struct stat status;
  if (!control || !(get(KINDS) & GROW)) return 0;
  int flags = fcntl(file, F_GETFL);
  if (flags >= 0 && flags & O_APPEND) return fstat(file, &status) == 0 ? status.st_size : 0;
  off64_t at = lseek64(file, 0, SEEK_CUR);
  return at < 0 ? 0 : at;
}

static void note(const char *what, const char *path, const char *to) {
  if (!control || log_file < 0 || !get(LOGGING)) return;
  if (!concerns(path) && strncmp(path, "socket:", 7) != 0) return;
  int before = errno;
  char line[9000];
  int length = snprintf(line, sizeof line, "%s\t%s\t%s\n", what, path, to);
  syscall(SYS_write, log_file, line, (size_t)length);
  errno = before;
}

/* Does a call on a path, unless it fails. */
#define ON_PATH(kind, what, path, to, call)                                                        \
  do {                                                                                             \
    if (fails(kind, path)) return -1;                                                              \
    int result = call;                                                                             \
    if (result >= 0) note(what, path, to);                                                         \
    return result;                                                                                 \
  } while (0)

/* Does a call on an open file, unless it fails. */
#define ON_FILE(type, kind, what, file, call)                                                      \
  do {                                                                                             \
    if (!control || !(get(LOGGING) || get(KINDS) & (kind))) return call;                           \
    char path[4096];                                                                               \
    path_of(file, path);                                                                           \
    if (fails(kind, path)) return -1;                                                              \
    type result = call;                                                                            \
    if (result >= 0 && (what)) note(what, path, "");                                               \
    return result;                                                                                 \
  } while (0)

/* Does a call that reads or writes some bytes: all, or nothing if it fails, or `part` of them if it
   fails without an error. */
#define ON_BYTES(kind, what, file, all, part)                                                      \
  do {                                                                                             \
    if (!control || !(get(LOGGING) || get(KINDS) & (kind))) return all;                            \
    char path[4096];                                                                               \
    path_of(file, path);                                                                           \
    int fault = fails(kind, path);                                                                 \
    if (fault && errno) return -1;                                                                 \
    ssize_t result = fault ? part : all;                                                           \
    if (result >= 0 && (what)) note(what, path, "");                                               \
    return result;                                                                                 \
  } while (0)

/* Less than `count`, and not nothing. */
static size_t less(size_t count) { return count > 1 ? count / 2 : count; }

/* What opening a file did: a name that came, or bytes that went. */
static const char *opened(const char *path, int flags) {
  if (!(flags & (O_CREAT | O_TRUNC)) || !control || !get(LOGGING)) return NULL;
  if (syscall(SYS_faccessat, AT_FDCWD, path, F_OK, 0) != 0) return "create";
  return flags & O_TRUNC ? "write" : NULL;
}

static int opens(const char *path, int flags) {
  int writes = flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC);
  return fails(writes ? OPEN_TO_WRITE : OPEN_TO_READ, path);
}

#define OPEN(name)                                                                                 \
  int name(const char *path, int flags, ...) {                                                     \
    REAL(int, name, const char *, int, ...);                                                       \
    va_list rest;                                                                                  \
    va_start(rest, flags);                                                                         \
    mode_t mode = va_arg(rest, mode_t);                                                            \
    va_end(rest);                                                                                  \
    if (opens(path, flags)) return -1;                                                             \
    const char *what = opened(path, flags);                                                        \
    int file = real(path, flags, mode);                                                            \
    if (file >= 0 && what) note(what, path, "");                                                   \
    return file;                                                                                   \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                               \
  int name(int directory, const char *at, int flags, ...) {                                        \
    REAL(int, name, int, const char *, int, ...);                                                  \
    va_list rest;                                                                                  \
    va_start(rest, flags);                                                                         \
    mode_t mode = va_arg(rest, mode_t);                                                            \
    va_end(rest);                                                                                  \
    char path[4096];                                                                               \
    path_at(directory, at, path);                                                                  \
    if (opens(path, flags)) return -1;                                                             \
    const char *what = opened(path, flags);                                                        \
    int file = real(directory, at, flags, mode);                                                   \
    if (file >= 0 && what) note(what, path, "");                                                   \
    return file;                                                                                   \
  }
OPENAT(openat)
OPENAT(openat64)

int mkdir(const char *path, mode_t mode) {
  REAL(int, mkdir, const char *, mode_t);
  ON_PATH(MAKE_DIRECTORY, "mkdir", path, "", real(path, mode));
}

int rename(const char *from, const char *to) {
  REAL(int, rename, const char *, const char *);
  ON_PATH(RENAME, "rename", from, to, real(from, to));
}

int renameat(int from_at, const char *from, int to_at, const char *to) {
  REAL(int, renameat, int, const char *, int, const char *);
  char path[4096], other[4096];
  path_at(from_at, from, path);
  path_at(to_at, to, other);
  ON_PATH(RENAME, "rename", path, other, real(from_at, from, to_at, to));
}

int link(const char *from, const char *to) {
  REAL(int, link, const char *, const char *);
  ON_PATH(RENAME, "link", from, to, real(from, to));
}

int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
  REAL(int, linkat, int, const char *, int, const char *, int);
  char path[4096], other[4096];
  path_at(from_at, from, path);
  path_at(to_at, to, other);
  ON_PATH(RENAME, "link", path, other, real(from_at, from, to_at, to, flags));
}

int unlink(const char *path) {
  REAL(int, unlink, const char *);
  ON_PATH(REMOVE, "remove", path, "", real(path));
}

int rmdir(const char *path) {
  REAL(int, rmdir, const char *);
  ON_PATH(REMOVE, "remove", path, "", real(path));
}

int unlinkat(int directory, const char *name, int flags) {
  REAL(int, unlinkat, int, const char *, int);
  char path[4096];
  path_at(directory, name, path);
  ON_PATH(REMOVE, "remove", path, "", real(directory, name, flags));
}

int fsync(int file) {
  REAL(int, fsync, int);
  ON_FILE(int, SYNC, "sync", file, real(file));
}

int fdatasync(int file) {
  REAL(int, fdatasync, int);
  ON_FILE(int, SYNC, "sync", file, real(file));
}

int ftruncate(int file, off_t size) {
  REAL(int, ftruncate, int, off_t);
  if (is_full(file, size, 1)) return -1;
  ON_FILE(int, RESIZE, "write", file, real(file, size));
}

int ftruncate64(int file, off64_t size) {
  REAL(int, ftruncate64, int, off64_t);
  if (is_full(file, size, 1)) return -1;
  ON_FILE(int, RESIZE, "write", file, real(file, size));
}

ssize_t write(int file, const void *bytes, size_t count) {
  REAL(ssize_t, write, int, const void *, size_t);
  if (is_full(file, end_of(file) + (int64_t)count, 0)) return -1;
  ON_BYTES(WRITE, "write", file, real(file, bytes, count),
           real(file, bytes, less(count)));
}

ssize_t writev(int file, const struct iovec *parts, int count) {
  REAL(ssize_t, writev, int, const struct iovec *, int);
  /* The first part that is not empty, or less of it. */
  struct iovec first = {NULL, 0};
  for (int number = 0; number < count && !first.iov_len; number++) first = parts[number];
  first.iov_len = less(first.iov_len);
  int64_t all = 0;
  for (int number = 0; number < count; number++) all += (int64_t)parts[number].iov_len;
  if (is_full(file, end_of(file) + all, 0)) return -1;
  ON_BYTES(WRITE, "write", file, real(file, parts, count), real(file, &first, 1));
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) {
  REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
  if (is_full(file, at + (int64_t)count, 0)) return -1;
  ON_BYTES(WRITE, "write", file, real(file, bytes, count, at),
           real(file, bytes, less(count), at));
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
  REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
  if (is_full(file, at + (int64_t)count, 0)) return -1;
  ON_BYTES(WRITE, "write", file, real(file, bytes, count, at),
           real(file, bytes, less(count), at));
}

ssize_t send(int socket, const void *bytes, size_t count, int flags) {
  REAL(ssize_t, send, int, const void *, size_t, int);
  ON_FILE(ssize_t, 0, "write", socket, real(socket, bytes, count, flags));
}

ssize_t sendmsg(int socket, const struct msghdr *message, int flags) {
  REAL(ssize_t, sendmsg, int, const struct msghdr *, int);
  ON_FILE(ssize_t, 0, "write", socket, real(socket, message, flags));
}

/* Flips a bit of what was read, from byte `at` on, of the file that is forgetful. */
static ssize_t forget(int file, off64_t at, char *bytes, ssize_t count) {
  struct stat status;
  if (!control || count <= 0 || !get(FORGETFUL)) return count;
  if (fstat(file, &status) != 0 || (int64_t)status.st_ino != get(FORGETFUL)) return count;
  int64_t forgotten = get(FORGOTTEN) - at;
  if (forgotten >= 0 && forgotten < count) bytes[forgotten] ^= 0x10;
  return count;
}

ssize_t read(int file, void *bytes, size_t count) {
  REAL(ssize_t, read, int, void *, size_t);
  off64_t at = control && get(FORGETFUL) ? lseek64(file, 0, SEEK_CUR) : 0;
  ON_BYTES(READ, NULL, file, forget(file, at, bytes, real(file, bytes, count)),
           forget(file, at, bytes, real(file, bytes, less(count))));
}

ssize_t pread(int file, void *bytes, size_t count, off_t at) {
  REAL(ssize_t, pread, int, void *, size_t, off_t);
  ON_BYTES(READ, NULL, file, forget(file, at, bytes, real(file, bytes, count, at)),
           forget(file, at, bytes, real(file, bytes, less(count), at)));
}

ssize_t pread64(int file, void *bytes, size_t count, off64_t at) {
  REAL(ssize_t, pread64, int, void *, size_t, off64_t);
  ON_BYTES(READ, NULL, file, forget(file, at, bytes, real(file, bytes, count, at)),
           forget(file, at, bytes, real(file, bytes, less(count), at)));
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  REAL(int, clock_gettime, clockid_t, struct timespec *);
  int result = real(clock, time);
  if (result == 0 && control && clock == CLOCK_REALTIME) time->tv_sec += get(CLOCK);
  return result;
}

/* How SQLite waits for a lock: it counts its waits, and looks at no clock. */
int usleep(useconds_t time) {
  REAL(int, usleep, useconds_t);
  return control && get(IMPATIENT) ? 0 : real(time);
}

int nanosleep(const struct timespec *time, struct timespec *left) {
  REAL(int, nanosleep, const struct timespec *, struct timespec *);
  return control && get(IMPATIENT) ? 0 : real(time, left);
}
