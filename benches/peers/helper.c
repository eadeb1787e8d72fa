/* The services that every runner is given, and the floor: the least that a runner has to do.
 *
 *   helper tree              lives; with a child in its group, one in a session of its own and a
 *                            double-forked daemon, none of which it passes a signal on to
 *   helper deaf              ignores SIGTERM, SIGINT and SIGHUP
 *   helper again FILE        makes FILE if it is not there yet, and exits 1 after 0.2 s; else makes
 *                            FILE.lives, and lives
 *   helper stamp FILE        notes in FILE that it runs, and lives
 *   helper crash FILE MS     does so; the first one then exits 1 after MS, and notes that
 *   helper flood FILE MB     does so; on SIGUSR1 prints MB of lines of 100 bytes, and notes the end
 *   helper exec FILE CMD...  notes when it becomes CMD
 *   helper floor PLAN        a runner: starts each line of PLAN (words between tabs) with a pipe for
 *                            its output, copies that to its own, starts again what ends, and on
 *                            SIGTERM stops all of it
 *
 * A note is a line "what pid nanoseconds" by the monotonic clock. A service ends by itself after five
 * minutes, whatever becomes of who started it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LIFE_SECONDS = 300, LINE = 100, LINES = 2560, MOST = 1024, WORDS = 16 };

extern char **environ;

static void note(const char *file, const char *what) {
    struct timespec now;
    char line[80];
    clock_gettime(CLOCK_MONOTONIC, &now);
    int length = snprintf(line, sizeof line, "%s %d %lld\n", what, getpid(), now.tv_sec * 1000000000LL + now.tv_nsec);
    int fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, line, length) != length) _exit(70);
    close(fd);
}

_Noreturn static void live(void) {
    for (;;) pause();
}

/* Whether this is the first one that asks. */
static int is_first(const char *file) {
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

static pid_t become(const char *role, int in_session) {
    pid_t pid = fork();
    if (pid) return pid;
    if (in_session) setsid();
    alarm(LIFE_SECONDS);
    execl("/proc/self/exe", program_invocation_name, role, NULL);
    _exit(70);
}

static void tree(void) {
    become("child", 0);
    become("session", 1);
    pid_t between = fork();
    if (!between) {
        become("daemon", 1);
        _exit(0);
    }
    waitpid(between, NULL, 0);
    live();
}

static void flood(const char *file, long megabytes) {
    static char block[LINE * LINES];
    sigset_t go;
    int got;
    sigemptyset(&go);
    sigaddset(&go, SIGUSR1);
    sigprocmask(SIG_BLOCK, &go, NULL);
    memset(block, 'x', sizeof block);
    for (int i = 1; i <= LINES; i++) block[i * LINE - 1] = '\n';
    note(file, "runs");
    sigwait(&go, &got);
    for (long left = megabytes * 1000000; left > 0;) {
        long part = left < (long)sizeof block ? left : (long)sizeof block;
        for (long done = 0; done < part;) {
            ssize_t written = write(1, block + done, part - done);
            if (written <= 0) _exit(1);
            done += written;
        }
        left -= part;
    }
    note(file, "ends");
    live();
}

static struct { char *argv[WORDS]; pid_t pid; } services[MOST];
static struct pollfd fds[MOST + 1];

static void start(int i) {
    int ends[2];
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    if (pipe2(ends, O_CLOEXEC)) _exit(71);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
    sigemptyset(&none);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    if (posix_spawn(&services[i].pid, services[i].argv[0], &actions, &attributes, services[i].argv, environ)) _exit(72);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    close(ends[1]);
    if (fds[i].fd > 0) close(fds[i].fd);
    fds[i] = (struct pollfd){.fd = ends[0], .events = POLLIN};
}

static int run_floor(const char *plan) {
    static char text[1 << 18], buffer[1 << 16];
    struct signalfd_siginfo heard;
    sigset_t signals;
    int count = 0, living, is_stopping = 0, status;
    int fd = open(plan, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof text - 1) < 0) return 2;
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) && *line && count < MOST; count++)
        for (int word = 0; word < WORDS - 1 && (services[count].argv[word] = strsep(&line, "\t")); word++);
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    for (int i = 0; i < count; i++) start(i);
    living = count;
    fds[count] = (struct pollfd){.fd = signalfd(-1, &signals, SFD_CLOEXEC), .events = POLLIN};
    while (living && poll(fds, count + 1, -1) > 0) {
        for (int i = 0; i < count; i++) {
            if (!fds[i].revents) continue;
            ssize_t got = read(fds[i].fd, buffer, sizeof buffer);
            if (got <= 0) fds[i].fd = -fds[i].fd;
            else if (write(1, buffer, got) != got) return 1;
        }
        if (!fds[count].revents || read(fds[count].fd, &heard, sizeof heard) < 0) continue;
        if (heard.ssi_signo == SIGTERM) {
            is_stopping = 1;
            for (int i = 0; i < count; i++) kill(-services[i].pid, SIGTERM);
        }
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
            for (int i = 0; i < count; i++)
                if (services[i].pid == pid) {
                    if (is_stopping) living--;
                    else start(i);
                    break;
                }
    }
    return 0;
}

int main(int argc, char **argv) {
    const char *role = argc > 1 ? argv[1] : "";
    char path[4096];
    if (!strcmp(role, "exec") && argc > 3) {
        note(argv[2], "begins");
        execvp(argv[3], argv + 3);
        return 127;
    }
    if (!strcmp(role, "floor") && argc > 2) return run_floor(argv[2]);
    alarm(LIFE_SECONDS);
    if (!strcmp(role, "tree")) tree();
    if (!strcmp(role, "child") || !strcmp(role, "session") || !strcmp(role, "daemon")) live();
    if (!strcmp(role, "deaf")) {
        signal(SIGTERM, SIG_IGN);
        signal(SIGINT, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        live();
    }
    if (!strcmp(role, "again") && argc > 2) {
        if (is_first(argv[2])) {
            usleep(200000);
            return 1;
        }
        snprintf(path, sizeof path, "%s.lives", argv[2]);
        is_first(path);
        live();
    }
    if (!strcmp(role, "stamp") && argc > 2) {
        note(argv[2], "runs");
        live();
    }
    if (!strcmp(role, "crash") && argc > 3) {
        note(argv[2], "runs");
        snprintf(path, sizeof path, "%s.crashed", argv[2]);
        if (!is_first(path)) live();
        usleep(atoi(argv[3]) * 1000);
        note(argv[2], "ends");
        return 1;
    }
    if (!strcmp(role, "flood") && argc > 3) flood(argv[2], atol(argv[3]));
    fprintf(stderr, "helper: what is `%s`?\n", role);
    return 2;
}
