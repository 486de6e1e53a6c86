/* Makes one system call, named by argv[1], and prints "done" or the number of the error.
 * Used inside and outside the sandbox: the difference is the control. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define X32 0x40000000L

static long make(const char *name)
{
    char args[88] = {0};
    if (!strcmp(name, "getpid")) return syscall(SYS_getpid);
#ifdef __x86_64__
    if (!strcmp(name, "x32-getpid")) return syscall(X32 + SYS_getpid);
    if (!strcmp(name, "x32-ptrace")) return syscall(X32 + 521, 0, 0, 0, 0);
    if (!strcmp(name, "i386-getpid")) {
        long result;
        __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory");
        if (result < 0) { errno = (int)-result; return -1; }
        return result;
    }
#endif
    if (!strcmp(name, "kill-init")) return syscall(SYS_kill, 1L, 0);
    if (!strcmp(name, "kill-init-high")) return syscall(SYS_kill, 1L | (1L << 32), 0);
    if (!strcmp(name, "tkill-init")) return syscall(SYS_tkill, 1L, 0);
    if (!strcmp(name, "tgkill-init")) return syscall(SYS_tgkill, 1L, 1L, 0);
    if (!strcmp(name, "queue-init")) return syscall(SYS_rt_sigqueueinfo, 1L, SIGURG, args);
    if (!strcmp(name, "queue-init-thread"))
        return syscall(SYS_rt_tgsigqueueinfo, 1L, 1L, SIGURG, args);
    if (!strcmp(name, "limit-init")) return syscall(SYS_prlimit64, 1L, 0, 0, args);
    if (!strcmp(name, "signal-by-fd")) return syscall(SYS_fcntl, 0, 10, SIGSTOP);
    if (!strcmp(name, "kill-self")) return syscall(SYS_kill, (long)getpid(), 0);
    if (!strcmp(name, "limit-self")) return syscall(SYS_prlimit64, 0L, 0, 0, args);
    if (!strcmp(name, "tiocsti")) return syscall(SYS_ioctl, 0, 0x5412L, "x");
    if (!strcmp(name, "tiocsti-high")) return syscall(SYS_ioctl, 0, 0x5412L | (1L << 32), "x");
    if (!strcmp(name, "tioclinux")) return syscall(SYS_ioctl, 0, 0x541CL | (5L << 33), "x");
    if (!strcmp(name, "tcgets")) return syscall(SYS_ioctl, 0, 0x5401L, args);
    if (!strcmp(name, "unshare-user")) return unshare(CLONE_NEWUSER);
    if (!strcmp(name, "clone-user") || !strcmp(name, "clone-high")) {
        unsigned long flags = CLONE_NEWUSER | SIGCHLD;
        if (!strcmp(name, "clone-high")) flags |= 1UL << 40;
        long pid = syscall(SYS_clone, flags, 0, 0, 0, 0);
        if (pid == 0) _exit(0);
        if (pid > 0) waitpid((pid_t)pid, NULL, 0);
        return pid;
    }
    if (!strcmp(name, "clone3")) return syscall(435, args, 0UL);
    if (!strcmp(name, "vsock")) return socket(40, SOCK_STREAM, 0);
    if (!strcmp(name, "vsock-high")) return syscall(SYS_socket, 40L | (1L << 32), SOCK_STREAM, 0);
    if (!strcmp(name, "inet")) return socket(AF_INET, SOCK_STREAM, 0);
    if (!strcmp(name, "io_uring")) return syscall(425, 1, 0);
    if (!strcmp(name, "bpf")) return syscall(SYS_bpf, 99, args, 8);
    if (!strcmp(name, "keyctl")) return syscall(SYS_keyctl, 0, -3, 0);
    if (!strcmp(name, "add_key")) return syscall(SYS_add_key, "user", "x", "y", 1, -3);
    if (!strcmp(name, "request_key")) return syscall(SYS_request_key, "user", "x", 0, 0);
    if (!strcmp(name, "userfaultfd")) return syscall(SYS_userfaultfd, 1);
    if (!strcmp(name, "ptrace")) return syscall(SYS_ptrace, 0, 0, 0, 0);
    if (!strcmp(name, "personality")) return syscall(SYS_personality, 0xffffffffL);
    if (!strcmp(name, "perf")) return syscall(SYS_perf_event_open, args, 0, -1, -1, 0);
    if (!strcmp(name, "fsopen")) return syscall(430, "tmpfs", 0);
    if (!strcmp(name, "open_tree")) return syscall(428, -100, "/tmp", 1);
    if (!strcmp(name, "open_tree_attr")) return syscall(467, -100, "/tmp", 1, 0, 0);
    if (!strcmp(name, "setns")) return syscall(SYS_setns, 0, 0);
    if (!strcmp(name, "process_vm_readv"))
        return syscall(SYS_process_vm_readv, getpid(), 0, 0, 0, 0, 0);
    if (!strcmp(name, "kexec")) return syscall(SYS_kexec_load, 0, 0, 0, 0);
    if (!strcmp(name, "init_module")) return syscall(SYS_init_module, 0, 0, "");
    /* Ways to make a file that gives its user's or group's rights to whoever starts it. */
    if (!strncmp(name, "sxid-", 5)) {
        long own = syscall(SYS_openat, AT_FDCWD, "own", O_RDWR | O_CREAT, 0700L);
        unsigned long how[3] = {O_RDWR | O_CREAT, 04700, 0};
        name += 5;
        if (own < 0) return -2;
#ifdef __x86_64__
        if (!strcmp(name, "chmod")) return syscall(SYS_chmod, "own", 04700L);
        if (!strcmp(name, "open")) return syscall(SYS_open, "a", O_RDWR | O_CREAT, 04700L);
        if (!strcmp(name, "creat")) return syscall(SYS_creat, "b", 02700L);
        if (!strcmp(name, "mknod")) return syscall(SYS_mknod, "c", S_IFREG | 04700L, 0L);
#endif
        if (!strcmp(name, "fchmod")) return syscall(SYS_fchmod, own, 06700L);
        if (!strcmp(name, "fchmod-high")) return syscall(SYS_fchmod, own, 04700L | (1L << 32));
        if (!strcmp(name, "fchmod-group")) return syscall(SYS_fchmod, own, 02700L);
        if (!strcmp(name, "fchmodat")) return syscall(SYS_fchmodat, AT_FDCWD, "own", 04700L);
        if (!strcmp(name, "fchmodat2")) return syscall(452, AT_FDCWD, "own", 04700L, 0L);
        if (!strcmp(name, "openat"))
            return syscall(SYS_openat, AT_FDCWD, "d", O_RDWR | O_CREAT, 04700L);
        if (!strcmp(name, "tmpfile"))
            return syscall(SYS_openat, AT_FDCWD, ".", O_RDWR | O_TMPFILE, 04700L);
        if (!strcmp(name, "openat2")) return syscall(437, AT_FDCWD, "e", how, sizeof how);
        if (!strcmp(name, "mknodat"))
            return syscall(SYS_mknodat, AT_FDCWD, "f", S_IFREG | 04700L, 0L);
        /* Neighbours: what is not refused. */
        if (!strcmp(name, "no-chmod")) return syscall(SYS_fchmod, own, 01755L);
        if (!strcmp(name, "no-make")) return syscall(SYS_openat, AT_FDCWD, "own", O_RDWR, 04700L);
        return -2;
    }
    return -2;
}

int main(int argc, char **argv)
{
    long result = argc > 1 ? make(argv[1]) : -2;
    if (result == -2) { puts("unknown"); return 2; }
    if (result < 0) printf("%d\n", errno);
    else puts("done");
    return 0;
}
