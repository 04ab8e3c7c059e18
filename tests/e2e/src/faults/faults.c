/*
 * Preloaded into a server: system calls of utl_smtp.so, and of nothing else, that fail or lie when the test says so,
 * and a clock that the test can step. What is lied about makes Rust panic, for real and in the library as it is
 * shipped: a clock that can't be read, more octets received or sent than there was room for, an address too short.
 * Memory fails once ("memory") or from then on ("memory ends").
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Shared with the test; see mod.rs. */
struct control {
    char call[16];     /* which call fails */
    int32_t remaining; /* calls left until it fails */
    int32_t fired;     /* how often it failed */
    int64_t step;      /* added to the time of day, in seconds */
};

static struct control none;
static volatile struct control *control = &none;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("UTL_SMTP_FAULTS");
    int file = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) control = mapped;
    close(file);
}

static int fires(const char *call, void *caller) {
    Dl_info info;
    if (strcmp((const char *)control->call, call) != 0) return 0;
    if (!dladdr(caller, &info) || !strstr(info.dli_fname, "utl_smtp")) return 0;
    if (__sync_sub_and_fetch(&control->remaining, 1) != 0) return 0;
    __sync_add_and_fetch(&control->fired, 1);
    return 1;
}

#define FIRES(call) fires(call, __builtin_return_address(0))
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL(call, error) if (FIRES(call)) { errno = error; return -1; }

int clock_gettime(clockid_t clock, struct timespec *now) {
    FAIL("clock_gettime", EINVAL)
    int result = syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += control->step;
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int result = syscall(SYS_gettimeofday, now, zone);
    if (result == 0) now->tv_sec += control->step;
    return result;
}

time_t time(time_t *store) {
    time_t now = syscall(SYS_time, NULL) + control->step;
    if (store) *store = now;
    return now;
}

ssize_t recv(int fd, void *buffer, size_t length, int flags) {
    if (FIRES("recv")) return length + 1;
    FAIL("recv fails", EIO)
    return NEXT(recv)(fd, buffer, length, flags);
}

ssize_t send(int fd, const void *data, size_t length, int flags) {
    if (FIRES("send")) return length + 1;
    FAIL("send fails", EIO)
    return NEXT(send)(fd, data, length, flags);
}

ssize_t writev(int fd, const struct iovec *pieces, int count) {
    FAIL("writev", EIO)
    return NEXT(writev)(fd, pieces, count);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    int fails = FIRES("getaddrinfo");
    int result = NEXT(getaddrinfo)(node, service, hints, found);
    if (fails && result == 0) (*found)->ai_addrlen = 1;
    return result;
}

int socket(int domain, int type, int protocol) {
    FAIL("socket", EMFILE)
    return NEXT(socket)(domain, type, protocol);
}

int socketpair(int domain, int type, int protocol, int pair[2]) {
    FAIL("socketpair", EMFILE)
    return NEXT(socketpair)(domain, type, protocol, pair);
}

int connect(int fd, const struct sockaddr *address, socklen_t length) {
    FAIL("connect", ENETUNREACH)
    return NEXT(connect)(fd, address, length);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t length) {
    FAIL("setsockopt", ENOBUFS)
    return NEXT(setsockopt)(fd, level, name, value, length);
}

int getsockname(int fd, struct sockaddr *restrict address, socklen_t *restrict length) {
    FAIL("getsockname", ENOBUFS)
    return NEXT(getsockname)(fd, address, length);
}

ssize_t getrandom(void *buffer, size_t length, unsigned flags) {
    FAIL("getrandom", EIO)
    return syscall(SYS_getrandom, buffer, length, flags);
}

ssize_t read(int fd, void *buffer, size_t length) {
    FAIL("read", EIO)
    return syscall(SYS_read, fd, buffer, length);
}

int openat(int directory, const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    FAIL("openat", EMFILE)
    return syscall(SYS_openat, directory, path, flags, mode);
}

static int memory_fails(void *caller) {
    if (fires("memory", caller)) return 1;
    Dl_info info;
    if (strcmp((const char *)control->call, "memory ends") != 0) return 0;
    if (!dladdr(caller, &info) || !strstr(info.dli_fname, "utl_smtp")) return 0;
    if (__sync_sub_and_fetch(&control->remaining, 1) > 0) return 0;
    __sync_add_and_fetch(&control->fired, 1);
    return 1;
}

#define MEMORY_FAILS memory_fails(__builtin_return_address(0))

/* dlsym allocates, so the real ones are called by glibc's own names. */
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

void *malloc(size_t size) {
    return MEMORY_FAILS ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    return MEMORY_FAILS ? NULL : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size) {
    return MEMORY_FAILS ? NULL : __libc_realloc(block, size);
}

int posix_memalign(void **block, size_t alignment, size_t size) {
    *block = MEMORY_FAILS ? NULL : __libc_memalign(alignment, size);
    return *block ? 0 : ENOMEM;
}

int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict how, void *(*run)(void *),
                   void *restrict argument) {
    if (FIRES("pthread_create")) return EAGAIN;
    return NEXT(pthread_create)(thread, how, run, argument);
}
