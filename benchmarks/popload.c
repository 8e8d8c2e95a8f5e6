/* popload - POP3 load generator.  One thread, epoll, no dependencies.
 *
 *   gcc -O2 -o popload popload.c
 *   ./popload --port 2110 --users 1000 --user-format 's%05d' --scenario login -c 32 -d 5
 *
 * Roles: most slots run whole sessions; in the scenarios idle and mixed the slots from "hold_from"
 * on log in once and then say NOOP at intervals.
 *
 * Closed loop: --concurrency sessions are always in progress; a slot starts its
 * next session when the previous one has had QUIT's +OK and the server's FIN.
 * Every run is bounded by --duration and/or --count, every command by --timeout.
 * Every reply is checked: status, line ends, byte-stuffing, LIST's octets against RETR's.
 * Only loopback addresses are accepted.  Prints exactly one JSON line on stdout.  No TLS.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

/* ---------------------------------------------------------------- options */
enum { SC_LOGIN, SC_POLL, SC_FETCH, SC_PIPELINE, SC_IDLE, SC_MIXED, SC_RETRS };
static const char *sc_names[] = {"login", "poll", "fetch", "pipeline", "idle", "mixed"};
static const char *o_host = "127.0.0.1", *o_userfmt = "user%05d", *o_pass = "secret";
static const char *o_holdfmt = NULL, *o_label = "";
static int o_port = 110, o_users = 1, o_conc = 1, o_scenario = SC_LOGIN, o_depth = 10, o_bulk = 1;
static int o_announce = 0, o_sources = 1, o_quitwait = 1, o_userbase = 0, o_ramp = 64, o_verbose = 0;
static double o_dur = 5, o_warm = 0, o_timeout = 30, o_noop = -1;
static long o_count = 0, o_retrmax = 0, o_maxerr = 20000;
static pid_t o_pids[16];
static int o_npids = 0;

/* ---------------------------------------------------------------- time and histograms */
static inline uint64_t now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

#define HSUB 5 /* 32 sub-buckets per octave: <= 3.1 % error */
#define HN ((64 - HSUB) << HSUB)
typedef struct { uint64_t n, max; double sum; uint64_t b[HN]; } hist;

static inline void h_add(hist *h, uint64_t v) {
    unsigned i;
    if (v < (1u << HSUB)) i = (unsigned)v;
    else {
        unsigned e = 63 - (unsigned)__builtin_clzll(v);
        i = ((e - HSUB + 1) << HSUB) + (unsigned)((v >> (e - HSUB)) & ((1u << HSUB) - 1));
    }
    h->b[i]++;
    h->n++;
    h->sum += (double)v;
    if (v > h->max) h->max = v;
}
static double h_q(const hist *h, double q) { /* microseconds */
    if (!h->n) return 0;
    uint64_t want = (uint64_t)(q * (double)h->n + 0.5), acc = 0;
    if (want < 1) want = 1;
    for (unsigned i = 0; i < HN; i++) {
        acc += h->b[i];
        if (acc >= want) {
            double lo, hi;
            if (i < (1u << HSUB)) { lo = i; hi = i + 1; }
            else {
                unsigned e = (i >> HSUB) + HSUB - 1, s = i & ((1u << HSUB) - 1);
                lo = (double)((1ull << e) + ((uint64_t)s << (e - HSUB)));
                hi = lo + (double)(1ull << (e - HSUB));
            }
            double v = (lo + hi) / 2;
            if (v > (double)h->max) v = (double)h->max;
            return v / 1000.0;
        }
    }
    return (double)h->max / 1000.0;
}

/* ---------------------------------------------------------------- state */
enum { ST_FREE, ST_GREET, ST_CAPA, ST_USER, ST_PASS, ST_STAT, ST_LIST, ST_UIDL, ST_RETR, ST_NOOP, ST_QUIT, ST_EOF, ST_READY, ST_N };
static const char *st_names[] = {"free", "greet", "capa", "user", "pass", "stat", "list", "uidl", "retr", "noop", "quit", "eof", "ready"};
enum { PM_STATUS, PM_LINES, PM_BODY };
enum { BS_BOL, BS_MID, BS_DOT, BS_DOTCR };
enum { ROLE_SESSION, ROLE_HOLD };
enum { E_CONNECT, E_TIMEOUT, E_EOF, E_RESET, E_SEND, E_GREET, E_CAPA, E_USER, E_PASS, E_STAT, E_LIST, E_UIDL, E_RETR, E_NOOP, E_QUIT,
       E_SIZE, E_BARELF, E_UNSTUFFED, E_COUNT, E_UNEXPECTED, E_SYNTAX, E_NOFIN, E_N };
static const char *e_names[] = {"connect", "timeout", "eof", "reset", "send", "err_greeting", "err_capa", "err_user", "err_pass", "err_stat",
                                "err_list", "err_uidl", "err_retr", "err_noop", "err_quit", "size_mismatch", "bare_lf", "unstuffed_dot",
                                "count_mismatch", "unexpected_data", "syntax", "no_fin"};

typedef struct conn {
    int fd;
    uint8_t state, pmode, bst, lastcr, role, waiting, alive;
    uint16_t llen;
    int user;
    uint64_t t_start, t_cmd, next;
    uint32_t nmsg, cur, sent, got;
    uint32_t *sizes;
    uint32_t cap, nsizes;
    uint64_t body;
    struct conn *qnext;
    char line[600];
} conn;

static struct {
    uint64_t nocapa, sessions, commands, messages, body, wire, started, logins;
    uint64_t err[E_N];
    hist h_session, h_cmd, h_noop, h_by[ST_N];
} S;

static int ep;
static struct sockaddr_in srv;
static conn *C;
static char **ustr;
static int *ulen, plen_;
static char *passcmd;
static int *uq, uq_head, uq_tail; /* FIFO of free users */
static int exclusive_users; /* as many users as session slots: none is in two sessions at once */
static int hold_from;       /* the first slot that holds its session */
static uint64_t t_end, t_measure;
static int stopping = 0, n_logging = 0, n_ready = 0;
static long n_live = 0;
static char *rbuf;
#define RBUF (512 * 1024)
static char lasterr[256];

static conn *rq_head, *rq_tail; /* restart queue, constant delay */
static conn *nq_head, *nq_tail; /* NOOP queue, constant period */
#define Q_PUSH(h, t, c) do { (c)->qnext = NULL; if (t) (t)->qnext = (c); else (h) = (c); (t) = (c); } while (0)
#define Q_POP(h, t, c) do { (c) = (h); (h) = (c)->qnext; if (!(h)) (t) = NULL; } while (0)

static void note(int kind, const char *fmt, ...) {
    S.err[kind]++;
    if (!lasterr[0] && fmt) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(lasterr, sizeof lasterr, fmt, ap);
        va_end(ap);
        for (char *p = lasterr; *p; p++)
            if (*p == '"' || *p == '\\' || (unsigned char)*p < 32) *p = ' ';
    }
}

static int take_user(const conn *c) {
    static int rr = 0;
    if (c->role == ROLE_HOLD && o_holdfmt) return o_users + (int)(c - C) - hold_from; /* each holder has its own */
    if (exclusive_users) {
        int u = uq[uq_head];
        uq_head = (uq_head + 1) % o_users;
        return u;
    }
    int u = rr;
    rr = (rr + 1) % o_users;
    return u;
}
static void put_user(int u) {
    if (!exclusive_users || u < 0 || u >= o_users) return;
    uq[uq_tail] = u;
    uq_tail = (uq_tail + 1) % o_users;
}

static void conn_close(conn *c) {
    if (c->fd >= 0) { close(c->fd); c->fd = -1; n_live--; }
    put_user(c->user);
    c->user = -1;
    c->waiting = 0;
    c->state = ST_FREE;
}
/* the slot ends; again after delay ns (0 = at once) */
static int conn_start(conn *c);
static void conn_retire(conn *c, int failed) {
    int was_logging = c->role == ROLE_HOLD && !c->alive;
    int was_alive = c->alive;
    conn_close(c);
    if (c->role == ROLE_HOLD) {
        if (was_logging) n_logging--;
        if (was_alive) { c->alive = 0; n_ready--; }
        if (o_scenario == SC_IDLE) return; /* not restarted: alive count is the result */
        if (stopping) return;
        failed = 1;
    }
    if (stopping || (o_count && (long)S.started >= o_count)) return;
    if (failed) { c->next = now_ns() + 10000000ull; Q_PUSH(rq_head, rq_tail, c); }
    else conn_start(c);
}
static void conn_fail(conn *c, int kind) {
    if (o_verbose) fprintf(stderr, "fail %s in %s (user %d)\n", e_names[kind], st_names[c->state], c->user);
    note(kind, "%s in state %s errno=%d", e_names[kind], st_names[c->state], errno);
    conn_retire(c, 1);
}

static int conn_start(conn *c) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    c->user = -1;
    c->fd = -1;
    S.started++;
    if (fd < 0) { note(E_CONNECT, "socket errno=%d", errno); c->next = now_ns() + 10000000ull; Q_PUSH(rq_head, rq_tail, c); return -1; }
    int one = 1;
    if (o_sources > 1) {
        static unsigned rr = 0;
        struct sockaddr_in a = {.sin_family = AF_INET};
        a.sin_addr.s_addr = htonl(0x7f000001u + rr++ % (unsigned)o_sources);
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0) note(E_CONNECT, "bind errno=%d", errno);
    }
    if (o_scenario == SC_PIPELINE) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->fd = fd;
    n_live++;
    c->user = take_user(c);
    c->state = ST_GREET;
    c->pmode = PM_STATUS;
    c->llen = 0;
    c->waiting = 1;
    c->nmsg = c->cur = c->sent = c->got = c->nsizes = 0;
    c->t_start = c->t_cmd = now_ns();
    if (connect(fd, (struct sockaddr *)&srv, sizeof srv) < 0 && errno != EINPROGRESS) {
        note(E_CONNECT, "connect errno=%d", errno);
        conn_retire(c, 1);
        return -1;
    }
    struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
    return 0;
}

static int tx(conn *c, int state, const char *s, size_t n) {
    c->state = (uint8_t)state;
    c->waiting = 1;
    c->pmode = PM_STATUS;
    c->t_cmd = now_ns();
    size_t off = 0;
    int spins = 0;
    while (off < n) {
        ssize_t r = send(c->fd, s + off, n - off, MSG_NOSIGNAL);
        if (r < 0) {
            if (errno == EAGAIN && spins++ < 1000) { usleep(100); continue; }
            if (errno == ECONNRESET || errno == EPIPE) conn_fail(c, E_RESET);
            else conn_fail(c, E_SEND);
            return -1;
        }
        off += (size_t)r;
    }
    return 0;
}

static size_t put_retr(char *p, uint32_t n) {
    char d[12];
    int i = 0;
    size_t o = 5;
    memcpy(p, "RETR ", 5);
    do { d[i++] = (char)('0' + n % 10); n /= 10; } while (n);
    while (i) p[o++] = d[--i];
    p[o++] = '\r';
    p[o++] = '\n';
    return o;
}
static int send_retr(conn *c) {
    static char buf[65536];
    uint32_t lim = c->nmsg;
    if (o_retrmax && lim > (uint32_t)o_retrmax) lim = (uint32_t)o_retrmax;
    if (c->cur >= lim) return tx(c, ST_QUIT, "QUIT\r\n", 6);
    size_t n = 0;
    uint32_t d = o_scenario == SC_PIPELINE ? (uint32_t)o_depth : 1, i;
    for (i = 0; i < d && c->cur + i < lim; i++) n += put_retr(buf + n, c->cur + i + 1);
    c->sent = i;
    c->body = 0;
    return tx(c, ST_RETR, buf, n);
}

/* a response is complete: account and send what comes next.  -1: conn is gone */
static int advance(conn *c, uint64_t now) {
    uint64_t dt = now - c->t_cmd;
    int st = c->state;
    c->waiting = 0;
    if (st == ST_GREET) h_add(&S.h_by[ST_GREET], dt);
    else {
        S.commands++;
        h_add(&S.h_by[st], dt);
        h_add(&S.h_cmd, dt);
    }
    switch (st) {
    case ST_GREET:
        if (o_scenario == SC_POLL) return tx(c, ST_CAPA, "CAPA\r\n", 6);
        /* fall through */
    case ST_CAPA:
        return tx(c, ST_USER, ustr[c->user], (size_t)ulen[c->user]);
    case ST_USER:
        return tx(c, ST_PASS, passcmd, (size_t)plen_);
    case ST_PASS:
        S.logins++;
        if (c->role == ROLE_HOLD) {
            c->alive = 1;
            n_ready++;
            n_logging--;
            c->state = ST_READY;
            uint64_t per = (uint64_t)(o_noop * 1e9);
            c->next = now + per;
            Q_PUSH(nq_head, nq_tail, c);
            return 0;
        }
        return tx(c, ST_STAT, "STAT\r\n", 6);
    case ST_STAT:
        if (o_scenario == SC_POLL) { c->got = 0; return tx(c, ST_UIDL, "UIDL\r\n", 6); }
        if (o_scenario == SC_LOGIN) return tx(c, ST_QUIT, "QUIT\r\n", 6);
        c->got = 0;
        return tx(c, ST_LIST, "LIST\r\n", 6);
    case ST_UIDL:
        if (c->got != c->nmsg) note(E_COUNT, "UIDL %u lines, STAT %u", c->got, c->nmsg);
        return tx(c, ST_QUIT, "QUIT\r\n", 6);
    case ST_LIST:
        if (c->got != c->nmsg) note(E_COUNT, "LIST %u lines, STAT %u", c->got, c->nmsg);
        c->cur = 0;
        return send_retr(c);
    case ST_RETR:
        S.messages++;
        S.body += c->body;
        if (c->cur < c->nsizes && c->sizes[c->cur] != c->body)
            note(E_SIZE, "user %s msg %u: LIST %u, body %llu", ustr[c->user], c->cur + 1, c->sizes[c->cur], (unsigned long long)c->body);
        c->cur++;
        c->sent--;
        if (c->sent) { /* pipelined: the next answer follows; its latency counts from the write */
            c->pmode = PM_STATUS;
            c->body = 0;
            c->waiting = 1;
            return 0;
        }
        return send_retr(c);
    case ST_NOOP:
        h_add(&S.h_noop, dt);
        c->state = ST_READY;
        return 0;
    case ST_QUIT:
        if (c->role == ROLE_SESSION) {
            S.sessions++;
            h_add(&S.h_session, now - c->t_start);
        }
        if (!o_quitwait) { conn_retire(c, 0); return -1; }
        c->state = ST_EOF;
        c->waiting = 1;
        c->t_cmd = now;
        return 0;
    }
    return 0;
}

static int status_line(conn *c, const char *l, size_t n, uint64_t now) {
    int st = c->state;
    if (n && l[n - 1] == '\r') n--;
    else note(E_BARELF, "status line without CR in %s", st_names[st]);
    if (n >= 3 && l[0] == '+' && l[1] == 'O' && l[2] == 'K') {
        switch (st) {
        case ST_CAPA: c->pmode = PM_LINES; c->got = 0; return 0;
        case ST_LIST: c->pmode = PM_LINES; c->got = 0; c->nsizes = 0; return 0;
        case ST_UIDL: c->pmode = PM_LINES; c->got = 0; return 0;
        case ST_RETR: c->pmode = PM_BODY; c->bst = BS_BOL; c->lastcr = 0; c->body = 0; return 0;
        case ST_STAT: {
            uint32_t v = 0;
            size_t i = 4;
            if (n < 7 || !isdigit((unsigned char)l[4])) note(E_SYNTAX, "STAT: %.*s", (int)n, l);
            for (; i < n && isdigit((unsigned char)l[i]); i++) v = v * 10 + (uint32_t)(l[i] - '0');
            c->nmsg = v;
        }
        }
        return advance(c, now);
    }
    if (st == ST_CAPA) { S.nocapa++; return advance(c, now); } /* a real client goes on */
    static const int map[ST_N] = {[ST_GREET] = E_GREET, [ST_CAPA] = E_CAPA, [ST_USER] = E_USER, [ST_PASS] = E_PASS, [ST_STAT] = E_STAT,
                                  [ST_LIST] = E_LIST, [ST_UIDL] = E_UIDL, [ST_RETR] = E_RETR, [ST_NOOP] = E_NOOP, [ST_QUIT] = E_QUIT};
    note(map[st] ? map[st] : E_SYNTAX, "%s: %.*s", st_names[st], (int)(n > 150 ? 150 : n), l);
    conn_retire(c, 1);
    return -1;
}

/* 1: end of the multi-line answer */
static int multi_line(conn *c, const char *l, size_t n) {
    if (n && l[n - 1] == '\r') n--;
    else note(E_BARELF, "line without CR in %s", st_names[c->state]);
    if (n == 1 && l[0] == '.') return 1;
    c->got++;
    if (c->state == ST_LIST) {
        uint32_t num = 0, sz = 0;
        size_t i = 0;
        for (; i < n && isdigit((unsigned char)l[i]); i++) num = num * 10 + (uint32_t)(l[i] - '0');
        if (i == 0 || i >= n || l[i] != ' ') { note(E_SYNTAX, "LIST line: %.*s", (int)n, l); return 0; }
        for (i++; i < n && isdigit((unsigned char)l[i]); i++) sz = sz * 10 + (uint32_t)(l[i] - '0');
        if (num != c->got) note(E_SYNTAX, "LIST line out of order: %.*s", (int)n, l);
        if (c->nsizes >= c->cap) {
            c->cap = c->cap ? c->cap * 2 : 64;
            c->sizes = realloc(c->sizes, c->cap * sizeof *c->sizes);
            if (!c->sizes) abort();
        }
        c->sizes[c->nsizes++] = sz;
    } else if (c->state == ST_UIDL) {
        const char *sp = memchr(l, ' ', n);
        if (!sp || sp + 1 == l + n) note(E_SYNTAX, "UIDL line: %.*s", (int)n, l);
    }
    return 0;
}

/* body octets: returns how many were consumed, *done at the terminator */
static size_t body_bytes(conn *c, const char *p0, size_t n, int *done) {
    const char *p = p0, *e = p0 + n;
    uint64_t body = c->body;
    unsigned bst = c->bst;
    *done = 0;
    while (p < e) {
        switch (bst) {
        case BS_BOL:
            if (*p == '.') { bst = BS_DOT; p++; break; }
            bst = BS_MID;
            c->lastcr = 0;
            /* fall through */
        case BS_MID: {
            const char *nl = memchr(p, '\n', (size_t)(e - p));
            if (!nl) { body += (uint64_t)(e - p); c->lastcr = e[-1] == '\r'; p = e; break; }
            if (!(nl > p ? nl[-1] == '\r' : c->lastcr)) note(E_BARELF, "bare LF in body of message %u", c->cur + 1);
            body += (uint64_t)(nl + 1 - p);
            p = nl + 1;
            bst = BS_BOL;
            break;
        }
        case BS_DOT:
            if (*p == '\r') { bst = BS_DOTCR; p++; break; }
            if (*p != '.') note(E_UNSTUFFED, "line starting with one dot in message %u", c->cur + 1);
            bst = BS_MID;
            c->lastcr = 0;
            break;
        case BS_DOTCR:
            if (*p == '\n') { p++; *done = 1; c->body = body; c->bst = BS_BOL; return (size_t)(p - p0); }
            body++;
            bst = BS_MID;
            c->lastcr = 1;
            break;
        }
    }
    c->body = body;
    c->bst = (uint8_t)bst;
    return n;
}

static int consume(conn *c, const char *p, size_t n) {
    uint64_t now = now_ns();
    S.wire += n;
    while (n) {
        if (!c->waiting) {
            note(E_UNEXPECTED, "%zu unexpected octets in %s: %.*s", n, st_names[c->state], (int)(n > 60 ? 60 : n), p);
            return 0;
        }
        if (c->state == ST_EOF) { note(E_UNEXPECTED, "%zu octets after QUIT", n); return 0; }
        if (c->pmode == PM_BODY) {
            int done;
            size_t k = body_bytes(c, p, n, &done);
            p += k;
            n -= k;
            if (done && advance(c, now) < 0) return -1;
            continue;
        }
        const char *nl = memchr(p, '\n', n);
        if (!nl) {
            size_t room = sizeof c->line - c->llen;
            if (n > room) { note(E_SYNTAX, "line too long in %s", st_names[c->state]); conn_retire(c, 1); return -1; }
            memcpy(c->line + c->llen, p, n);
            c->llen = (uint16_t)(c->llen + n);
            return 0;
        }
        const char *l = p;
        size_t ln = (size_t)(nl - p), used = ln + 1;
        if (c->llen) {
            if (ln > sizeof c->line - c->llen) { note(E_SYNTAX, "line too long in %s", st_names[c->state]); conn_retire(c, 1); return -1; }
            memcpy(c->line + c->llen, p, ln);
            l = c->line;
            ln += c->llen;
            c->llen = 0;
        }
        p += used;
        n -= used;
        if (c->pmode == PM_LINES) {
            if (multi_line(c, l, ln) && advance(c, now) < 0) return -1;
        } else if (status_line(c, l, ln, now) < 0) return -1;
    }
    return 0;
}

static void on_event(conn *c, uint32_t ev) {
    if (c->fd < 0) return;
    if (c->state == ST_EOF && (ev & EPOLLRDHUP) && !(ev & EPOLLERR)) { /* FIN after QUIT: anything unread is checked */
        ssize_t r = recv(c->fd, rbuf, 512, MSG_DONTWAIT);
        if (r > 0) note(E_UNEXPECTED, "%zd octets after QUIT", r);
        conn_retire(c, 0);
        return;
    }
    ssize_t r = recv(c->fd, rbuf, RBUF, MSG_DONTWAIT);
    if (r < 0) {
        if (errno == EAGAIN || errno == EINTR) return;
        if (c->state == ST_EOF) { conn_retire(c, 0); return; }
        if (c->state == ST_GREET && errno == ECONNREFUSED) conn_fail(c, E_CONNECT);
        else conn_fail(c, E_RESET);
        return;
    }
    if (r == 0) {
        if (c->state == ST_EOF) conn_retire(c, 0);
        else conn_fail(c, E_EOF);
        return;
    }
    if (consume(c, rbuf, (size_t)r) < 0) return;
    if (c->state == ST_EOF && (ev & EPOLLRDHUP)) conn_retire(c, 0); /* the FIN came with the +OK */
}

/* ---------------------------------------------------------------- the server's processes */
typedef struct { double cpu_s; long rss_kb, pss_kb, priv_kb; int nproc, nthr; } psample;

/* stat counts user and system time in whole ticks (10 ms), each rounded down: with a process for each of 64 clients that hides
 * half a second. schedstat has nanoseconds, but of the first thread alone: the larger of the two is never far off. */
static double first_thread_cpu(pid_t pid) {
    char path[64];
    unsigned long long ns = 0;
    snprintf(path, sizeof path, "/proc/%d/schedstat", (int)pid);
    FILE *f = fopen(path, "r");
    if (!f) return 0;
    if (fscanf(f, "%llu", &ns) != 1) ns = 0;
    fclose(f);
    return (double)ns / 1e9;
}
static int read_stat(pid_t pid, pid_t *ppid, double *cpu, int *thr) {
    char path[64], buf[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t n = read(fd, buf, sizeof buf - 1);
    close(fd);
    if (n <= 0) return -1;
    buf[n] = 0;
    char *p = strrchr(buf, ')');
    if (!p) return -1;
    char st;
    int pp;
    long th;
    unsigned long ut, stt;
    long cut, cst;
    if (sscanf(p + 2, "%c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld %*d %*d %ld", &st, &pp, &ut, &stt, &cut, &cst, &th) != 7) return -1;
    *ppid = pp;
    double tick = 1.0 / (double)sysconf(_SC_CLK_TCK), own = (double)(ut + stt) * tick, first = first_thread_cpu(pid);
    *cpu = (first > own ? first : own) + (double)(cut + cst) * tick;
    *thr = (int)th;
    return 0;
}
static void read_mem(pid_t pid, psample *o) {
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    FILE *f = fopen(path, "r");
    long v;
    if (!f) return;
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "Rss: %ld", &v) == 1) o->rss_kb += v;
        else if (sscanf(line, "Pss: %ld", &v) == 1) o->pss_kb += v;
        else if (sscanf(line, "Private_Dirty: %ld", &v) == 1) o->priv_kb += v;
    }
    fclose(f);
}
/* the given processes and all their descendants; reaped children come in through cutime */
static void sample(psample *o, int mem) {
    memset(o, 0, sizeof *o);
    if (o_npids) {
        static struct { pid_t pid, ppid; double cpu; int thr; char in; } t[65536];
        int n = 0;
        DIR *d = opendir("/proc");
        struct dirent *de;
        while (d && (de = readdir(d)) && n < 65536) {
            if (!isdigit((unsigned char)de->d_name[0])) continue;
            t[n].pid = atoi(de->d_name);
            t[n].in = 0;
            if (read_stat(t[n].pid, &t[n].ppid, &t[n].cpu, &t[n].thr) == 0) n++;
        }
        if (d) closedir(d);
        /* /proc lists pids in rising order; wrap-around makes several passes needed */
        static char mark[4194304 / 8 + 1];
        memset(mark, 0, sizeof mark);
        for (int i = 0; i < o_npids; i++) mark[o_pids[i] / 8] |= (char)(1 << (o_pids[i] % 8));
        for (int pass = 0, changed = 1; changed && pass < 20; pass++) {
            changed = 0;
            for (int i = 0; i < n; i++) {
                if (t[i].in) continue;
                int self = mark[t[i].pid / 8] >> (t[i].pid % 8) & 1, par = mark[t[i].ppid / 8] >> (t[i].ppid % 8) & 1;
                if (self || par) { t[i].in = 1; mark[t[i].pid / 8] |= (char)(1 << (t[i].pid % 8)); changed = 1; }
            }
        }
        for (int i = 0; i < n; i++)
            if (t[i].in) { o->cpu_s += t[i].cpu; o->nproc++; o->nthr += t[i].thr; if (mem) read_mem(t[i].pid, o); }
    }
}
static double self_cpu(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)r.ru_utime.tv_sec + (double)r.ru_stime.tv_sec + ((double)r.ru_utime.tv_usec + (double)r.ru_stime.tv_usec) / 1e6;
}

/* ---------------------------------------------------------------- report */
static void put_hist(const char *name, const hist *h) {
    printf("\"%s\":{\"n\":%llu,\"mean\":%.1f,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"max\":%.1f},", name, (unsigned long long)h->n,
           h->n ? h->sum / (double)h->n / 1000 : 0, h_q(h, .5), h_q(h, .9), h_q(h, .99), (double)h->max / 1000);
}

static void usage(void) {
    fprintf(stderr,
            "popload --host H --port P --users N [--user-format 'user%%05d'] [--user-base K] [--password X]\n"
            "  -c/--concurrency C  -d/--duration S  [-n/--count SESSIONS]  [--warmup S] [--timeout S]\n"
            "  --scenario login|poll|fetch|pipeline|idle|mixed\n"
            "  --depth D (pipeline)  --bulk B (mixed)  --retr-max K (first K messages)  --noop-every S (idle 30, mixed 0.1)\n"
            "  --ramp N (idle/mixed: logins in progress at once)  --sources K (127.0.0.1..K)  --no-quit-wait\n"
            "  --announce (idle: \"in: N\" on stderr when the logins are over)\n"
            "  --hold-format F (own users for the sessions held)  --pid P (repeatable: CPU and memory of the tree)  --label TEXT  -v\n");
    exit(2);
}

static volatile sig_atomic_t interrupted = 0;
static void on_int(int s) { (void)s; interrupted = 1; }

int main(int argc, char **argv) {
    static const struct option lo[] = {{"host", 1, 0, 'h'}, {"port", 1, 0, 'p'}, {"users", 1, 0, 'u'}, {"user-format", 1, 0, 'f'}, {"password", 1, 0, 'w'},
        {"concurrency", 1, 0, 'c'}, {"duration", 1, 0, 'd'}, {"count", 1, 0, 'n'}, {"scenario", 1, 0, 's'}, {"depth", 1, 0, 'D'}, {"bulk", 1, 0, 'B'},
        {"retr-max", 1, 0, 'r'}, {"noop-every", 1, 0, 'N'}, {"sources", 1, 0, 'S'}, {"no-quit-wait", 0, 0, 'Q'}, {"pid", 1, 0, 'P'}, {"hold-format", 1, 0, 'H'},
        {"label", 1, 0, 'L'}, {"warmup", 1, 0, 'W'}, {"timeout", 1, 0, 'T'}, {"user-base", 1, 0, 'b'}, {"ramp", 1, 0, 'm'},
        {"max-errors", 1, 0, 'E'}, {"announce", 0, 0, 'A'}, {"verbose", 0, 0, 'v'}, {0, 0, 0, 0}};
    int o;
    while ((o = getopt_long(argc, argv, "c:d:n:v", lo, NULL)) != -1) switch (o) {
        case 'h': o_host = optarg; break;
        case 'p': o_port = atoi(optarg); break;
        case 'u': o_users = atoi(optarg); break;
        case 'f': o_userfmt = optarg; break;
        case 'w': o_pass = optarg; break;
        case 'c': o_conc = atoi(optarg); break;
        case 'd': o_dur = atof(optarg); break;
        case 'n': o_count = atol(optarg); break;
        case 's':
            for (o_scenario = 0; o_scenario < SC_RETRS && strcmp(sc_names[o_scenario], optarg); o_scenario++) {}
            if (o_scenario == SC_RETRS) usage();
            break;
        case 'D': o_depth = atoi(optarg); break;
        case 'B': o_bulk = atoi(optarg); break;
        case 'r': o_retrmax = atol(optarg); break;
        case 'N': o_noop = atof(optarg); break;
        case 'S': o_sources = atoi(optarg); break;
        case 'Q': o_quitwait = 0; break;
        case 'A': o_announce = 1; break;
        case 'P': if (o_npids < 16) o_pids[o_npids++] = atoi(optarg); break;
        case 'H': o_holdfmt = optarg; break;
        case 'L': o_label = optarg; break;
        case 'W': o_warm = atof(optarg); break;
        case 'T': o_timeout = atof(optarg); break;
        case 'b': o_userbase = atoi(optarg); break;
        case 'm': o_ramp = atoi(optarg); break;
        case 'E': o_maxerr = atol(optarg); break;
        case 'v': o_verbose = 1; break;
        default: usage();
    }
    if (o_users < 1 || o_conc < 1 || o_dur <= 0 || o_dur > 3600 || o_depth < 1 || o_depth > 2000 || o_sources < 1 || o_sources > 250) usage();
    if (!strcmp(o_host, "localhost")) o_host = "127.0.0.1";
    srv.sin_family = AF_INET;
    srv.sin_port = htons((uint16_t)o_port);
    if (inet_pton(AF_INET, o_host, &srv.sin_addr) != 1) { fprintf(stderr, "popload: numeric IPv4 address, please\n"); return 2; }
    if ((ntohl(srv.sin_addr.s_addr) >> 24) != 127) { fprintf(stderr, "popload: not a loopback address\n"); return 2; }
    if (o_noop < 0) o_noop = o_scenario == SC_MIXED ? 0.1 : 30;
    struct rlimit rl;
    getrlimit(RLIMIT_NOFILE, &rl);
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);
    if ((rlim_t)o_conc + 32 > rl.rlim_cur) { fprintf(stderr, "popload: concurrency %d but RLIMIT_NOFILE is %lu\n", o_conc, (unsigned long)rl.rlim_cur); return 2; }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, on_int);
    signal(SIGTERM, on_int);

    hold_from = o_scenario == SC_IDLE ? 0 : o_scenario == SC_MIXED ? (o_bulk < o_conc ? o_bulk : o_conc) : o_conc;
    int named = o_users + (o_holdfmt ? o_conc - hold_from : 0);
    ustr = calloc((size_t)named, sizeof *ustr);
    ulen = calloc((size_t)named, sizeof *ulen);
    uq = calloc((size_t)o_users, sizeof *uq);
    if (!ustr || !ulen || !uq) return 2;
    for (int i = 0; i < named; i++) {
        char nm[256], cmd[300];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(nm, sizeof nm, i < o_users ? o_userfmt : o_holdfmt, i < o_users ? i + o_userbase : i - o_users);
#pragma GCC diagnostic pop
        ulen[i] = snprintf(cmd, sizeof cmd, "USER %s\r\n", nm);
        ustr[i] = strdup(cmd);
        if (i < o_users) uq[i] = i;
    }
    exclusive_users = o_users >= (o_holdfmt ? hold_from : o_conc);
    char pc[300];
    plen_ = snprintf(pc, sizeof pc, "PASS %s\r\n", o_pass);
    passcmd = strdup(pc);
    rbuf = aligned_alloc(4096, RBUF);
    C = calloc((size_t)o_conc, sizeof *C);
    ep = epoll_create1(EPOLL_CLOEXEC);
    if (!rbuf || !C || ep < 0) return 2;

    psample s0, s1, sb;
    sample(&s0, 1);
    sb = s0; /* memory before the load */
    memset(&s1, 0, sizeof s1);
    uint64_t t0 = now_ns();
    t_measure = t0 + (uint64_t)(o_warm * 1e9);
    t_end = t_measure + (uint64_t)(o_dur * 1e9);
    double cpu_c0 = self_cpu();
    int measuring = o_warm <= 0, next_slot = 0;
    uint64_t t_m0 = t0, next_sweep = t0 + 500000000ull;
    int idle_ready_seen = 0;
    double ramp_s = 0;
    for (int i = 0; i < o_conc; i++) { C[i].fd = -1; C[i].user = -1; C[i].role = i >= hold_from ? ROLE_HOLD : ROLE_SESSION; }
    static struct epoll_event evs[1024];
    uint64_t hard_end = t_end + (o_scenario == SC_IDLE ? 120000000000ull : 0);
    if (o_scenario == SC_IDLE) t_end = hard_end; /* until all are in; then S seconds */

    while (!interrupted) {
        uint64_t now = now_ns();
        if (!measuring && now >= t_measure) {
            memset(&S, 0, sizeof S);
            lasterr[0] = 0;
            measuring = 1;
            sample(&s0, 0);
            cpu_c0 = self_cpu();
            t_m0 = now = now_ns();
            if (o_scenario != SC_IDLE) t_end = now + (uint64_t)(o_dur * 1e9);
        }
        if (now >= t_end) break;
        /* the first start of each slot: all sessions at once, holders by --ramp */
        while (next_slot < o_conc) {
            conn *c = &C[next_slot];
            if (c->role == ROLE_HOLD) { if (n_logging >= o_ramp) break; n_logging++; }
            else if (o_count && (long)S.started >= o_count) { next_slot = o_conc; break; }
            next_slot++;
            conn_start(c);
            if (next_slot % 64 == 0) break;
        }
        if (o_scenario == SC_IDLE && !idle_ready_seen && next_slot >= o_conc && n_logging == 0) {
            idle_ready_seen = 1;
            ramp_s = (double)(now - t0) / 1e9;
            usleep(300000); /* let the server settle */
            sample(&s1, 1);
            if (o_announce) fprintf(stderr, "in: %d\n", n_ready);
            t_end = now_ns() + (uint64_t)(o_dur * 1e9);
            t_m0 = now = now_ns();
            sample(&s0, 0);
            cpu_c0 = self_cpu();
        }
        while (rq_head && rq_head->next <= now) {
            conn *c;
            Q_POP(rq_head, rq_tail, c);
            if (c->role == ROLE_HOLD) n_logging++;
            conn_start(c);
        }
        int sent = 0;
        while (nq_head && nq_head->next <= now && sent < 256) {
            conn *c;
            Q_POP(nq_head, nq_tail, c);
            if (!c->alive || c->fd < 0) continue;
            c->next = now + (uint64_t)(o_noop * 1e9);
            Q_PUSH(nq_head, nq_tail, c);
            if (c->state == ST_READY) { tx(c, ST_NOOP, "NOOP\r\n", 6); sent++; }
        }
        if (now >= next_sweep) {
            next_sweep = now + 500000000ull;
            for (int i = 0; i < o_conc; i++) {
                conn *c = &C[i];
                if (c->fd < 0 || !c->waiting) continue;
                if (c->state == ST_EOF) { if (now - c->t_cmd > 5000000000ull) { note(E_NOFIN, NULL); conn_retire(c, 0); } }
                else if (now > c->t_cmd && (double)(now - c->t_cmd) > o_timeout * 1e9 && !(c->state == ST_RETR && c->body)) { errno = 0; conn_fail(c, E_TIMEOUT); }
            }
        }
        if (o_count && n_live == 0 && (long)S.started >= o_count && !rq_head) break;
        uint64_t errs = 0;
        for (int i = 0; i < E_N; i++) errs += S.err[i];
        if ((long)errs > o_maxerr) { stopping = 1; break; }
        int to = 100;
        if (nq_head) { int64_t d = ((int64_t)nq_head->next - (int64_t)now) / 1000000; if (d < to) to = d < 0 ? 0 : (int)d + (d > 0 ? 0 : 1); }
        if (rq_head && to > 5) to = 5;
        if (next_slot < o_conc) to = to > 1 ? 1 : to;
        int n = epoll_wait(ep, evs, 1024, to);
        for (int i = 0; i < n; i++) on_event(evs[i].data.ptr, evs[i].events);
    }
    uint64_t t1 = now_ns();
    double el = (double)(t1 - t_m0) / 1e9, cpu_c = self_cpu() - cpu_c0;
    psample sE;
    sample(&sE, o_scenario != SC_IDLE || !idle_ready_seen);
    double cpu = sE.cpu_s - s0.cpu_s;
    if (o_scenario != SC_IDLE || !idle_ready_seen) s1 = sE;
    int alive = n_ready;
    stopping = 1;
    /* the idle sessions say goodbye, for at most 10 s; the others are dropped */
    if (o_scenario == SC_IDLE && !interrupted) {
        uint64_t lim = now_ns() + 10000000000ull;
        int i = 0;
        while (now_ns() < lim && n_ready > 0) {
            for (int k = 0; k < 256 && i < o_conc; i++)
                if (C[i].fd >= 0 && C[i].alive && C[i].state == ST_READY) { tx(&C[i], ST_QUIT, "QUIT\r\n", 6); k++; }
            int n = epoll_wait(ep, evs, 1024, 20);
            for (int j = 0; j < n; j++) on_event(evs[j].data.ptr, evs[j].events);
        }
    }
    uint64_t sess = S.sessions ? S.sessions : S.logins;
    printf("{\"label\":\"%s\",\"scenario\":\"%s\",\"port\":%d,\"concurrency\":%d,\"elapsed\":%.3f,\"sessions\":%llu,\"sessions_s\":%.1f,\"commands_s\":%.1f,"
           "\"messages\":%llu,\"messages_s\":%.1f,\"body_MB_s\":%.2f,\"wire_MB_s\":%.2f,",
           o_label, sc_names[o_scenario], o_port, o_conc, el, (unsigned long long)S.sessions, (double)S.sessions / el, (double)S.commands / el,
           (unsigned long long)S.messages, (double)S.messages / el, (double)S.body / el / 1e6, (double)S.wire / el / 1e6);
    uint64_t tot = 0;
    if (S.nocapa) printf("\"capa_refused\":%llu,", (unsigned long long)S.nocapa);
    printf("\"errors\":{");
    int firste = 1;
    for (int i = 0; i < E_N; i++)
        if (S.err[i]) { printf("%s\"%s\":%llu", firste ? "" : ",", e_names[i], (unsigned long long)S.err[i]); firste = 0; tot += S.err[i]; }
    printf("},\"errors_total\":%llu,\"first_error\":\"%s\",", (unsigned long long)tot, lasterr);
    put_hist("session_us", &S.h_session);
    put_hist("command_us", &S.h_cmd);
    if (o_scenario == SC_MIXED || o_scenario == SC_IDLE) put_hist("noop_us", &S.h_noop);
    printf("\"by_command\":{");
    int first = 1;
    for (int i = 0; i < ST_N; i++)
        if (S.h_by[i].n) {
            printf("%s\"%s\":[%.1f,%.1f]", first ? "" : ",", st_names[i], h_q(&S.h_by[i], .5), h_q(&S.h_by[i], .99));
            first = 0;
        }
    printf("},");
    if (o_scenario == SC_IDLE || o_scenario == SC_MIXED) printf("\"held\":%d,\"alive\":%d,\"ramp_s\":%.2f,", o_conc - hold_from, alive, ramp_s);
    if (o_npids) {
        printf("\"srv_cpu_s\":%.3f,\"srv_cpu_util\":%.3f,\"srv_cpu_us_per_session\":%.2f,\"srv_cpu_us_per_command\":%.3f,\"srv_cpu_ms_per_MB\":%.4f,", cpu, cpu / el,
               sess ? cpu * 1e6 / (double)sess : 0, S.commands ? cpu * 1e6 / (double)S.commands : 0, S.body ? cpu * 1e3 / ((double)S.body / 1e6) : 0);
        printf("\"srv_procs\":%d,\"srv_threads\":%d,\"srv_rss_kb\":%ld,\"srv_pss_kb\":%ld,\"srv_rss0_kb\":%ld,\"srv_pss0_kb\":%ld,", s1.nproc, s1.nthr, s1.rss_kb, s1.pss_kb,
               sb.rss_kb, sb.pss_kb);
        if (o_scenario == SC_IDLE && alive) printf("\"idle_pss_kb_per_session\":%.2f,", (double)(s1.pss_kb - sb.pss_kb) / alive);
    }
    printf("\"client_cpu_util\":%.3f,\"client_cpu_us_per_session\":%.2f}\n", cpu_c / el, sess ? cpu_c * 1e6 / (double)sess : 0);
    return interrupted ? 130 : 0;
}
