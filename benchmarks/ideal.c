/* ideal - the physical limit: one thread, epoll, every answer rendered before the first connection.
 *   gcc -O2 -o ideal ideal.c ; ./ideal PORT MAILDIR_ROOT LETTERS
 * The first letter of the user name, one of LETTERS, picks the data set of user X00000; there is no
 * authentication, no locking, no DELE.  It is not a POP3 server, only the cost of the system calls. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

typedef struct { uint64_t off; uint32_t len; } seg;
typedef struct { int n; seg stat, list, uidl, *msg; } set;
static set sets[26];
static int mfd;
static char *blob;
static uint64_t blen, bcap;

static seg put(const void *p, size_t n) {
    while (blen + n > bcap) {
        uint64_t nc = bcap ? bcap * 2 : 1 << 24;
        if (ftruncate(mfd, (off_t)nc)) abort();
        blob = bcap ? mremap(blob, bcap, nc, MREMAP_MAYMOVE) : mmap(NULL, nc, PROT_READ | PROT_WRITE, MAP_SHARED, mfd, 0);
        if (blob == MAP_FAILED) abort();
        bcap = nc;
    }
    memcpy(blob + blen, p, n);
    seg s = {blen, (uint32_t)n};
    blen += n;
    return s;
}
static int cmpstr(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void load(const char *root, char letter) {
    char dir[512], path[1024];
    snprintf(dir, sizeof dir, "%s/%c00000/cur", root, letter);
    DIR *d = opendir(dir);
    if (!d) return;
    char **names = NULL;
    int n = 0;
    struct dirent *de;
    while ((de = readdir(d))) {
        if (de->d_name[0] == '.') continue;
        names = realloc(names, (size_t)(n + 1) * sizeof *names);
        names[n++] = strdup(de->d_name);
    }
    closedir(d);
    qsort(names, (size_t)n, sizeof *names, cmpstr);
    set *s = &sets[letter - 'a'];
    s->n = n;
    s->msg = calloc((size_t)n + 1, sizeof *s->msg);
    char *list = malloc((size_t)n * 24 + 64), *uidl = malloc((size_t)n * 90 + 64);
    size_t ll = 0, ul = 0;
    uint64_t total = 0;
    ll += (size_t)sprintf(list, "+OK\r\n");
    ul += (size_t)sprintf(uidl, "+OK\r\n");
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        int fd = open(path, O_RDONLY);
        struct stat st;
        if (fd < 0 || fstat(fd, &st)) abort();
        char *in = malloc((size_t)st.st_size + 1), *out = malloc((size_t)st.st_size * 2 + 64);
        if (read(fd, in, (size_t)st.st_size) != st.st_size) abort();
        close(fd);
        size_t o = 0, octets = 0;
        int bol = 1;
        for (off_t k = 0; k < st.st_size; k++) {
            if (bol && in[k] == '.') out[o++] = '.';
            if (in[k] == '\n') { out[o++] = '\r'; octets++; }
            out[o++] = in[k];
            octets++;
            bol = in[k] == '\n';
        }
        out[o++] = '.'; out[o++] = '\r'; out[o++] = '\n';
        char hd[64];
        int hn = sprintf(hd, "+OK %zu octets\r\n", octets);
        seg a = put(hd, (size_t)hn);
        seg b = put(out, o);
        s->msg[i] = (seg){a.off, a.len + b.len};
        ll += (size_t)sprintf(list + ll, "%d %zu\r\n", i + 1, octets);
        ul += (size_t)sprintf(uidl + ul, "%d %.60s\r\n", i + 1, names[i]);
        total += octets;
        free(in);
        free(out);
        free(names[i]);
    }
    free(names);
    ll += (size_t)sprintf(list + ll, ".\r\n");
    ul += (size_t)sprintf(uidl + ul, ".\r\n");
    s->list = put(list, ll);
    s->uidl = put(uidl, ul);
    char st[64];
    s->stat = put(st, (size_t)sprintf(st, "+OK %d %llu\r\n", n, (unsigned long long)total));
    free(list);
    free(uidl);
}

#define MAXQ 1024
typedef struct { int fd, closing, qh, qn, inlen, want_out; uint32_t qoff; set *s; seg *q; char in[1024]; } conn;
static int ep;

static conn *freelist[65536];
static int nfree;

static conn *c_new(int fd) {
    conn *c = nfree ? freelist[--nfree] : malloc(sizeof *c);
    c->fd = fd;
    c->closing = c->qh = c->qn = c->inlen = c->want_out = 0;
    c->qoff = 0;
    c->s = &sets['s' - 'a'];
    c->q = NULL;
    return c;
}
static void c_free(conn *c) {
    close(c->fd);
    free(c->q);
    c->fd = -1;
    if (nfree < 65536) freelist[nfree++] = c; else free(c);
}
/* -1 gone */
static int flush(conn *c) {
    while (c->qn) {
        seg *s = &c->q[c->qh];
        ssize_t r;
        if (s->len - c->qoff > 65536) {
            off_t o = (off_t)(s->off + c->qoff);
            r = sendfile(c->fd, mfd, &o, s->len - c->qoff);
        } else {
            struct iovec v[64];
            int k = 0;
            for (; k < c->qn && k < 64; k++) {
                seg *t = &c->q[(c->qh + k) % MAXQ];
                if (k && t->len > 65536) break;
                uint32_t sk = k ? 0 : c->qoff;
                v[k].iov_base = blob + t->off + sk;
                v[k].iov_len = t->len - sk;
            }
            struct msghdr m = {.msg_iov = v, .msg_iovlen = (size_t)k};
            r = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
        if (r < 0) {
            if (errno == EAGAIN) {
                if (!c->want_out) { struct epoll_event e = {EPOLLIN | EPOLLOUT, {.ptr = c}}; epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e); c->want_out = 1; }
                return 0;
            }
            c_free(c);
            return -1;
        }
        while (r > 0) {
            seg *t = &c->q[c->qh];
            uint32_t left = t->len - c->qoff;
            if ((uint64_t)r >= left) { r -= left; c->qh = (c->qh + 1) % MAXQ; c->qn--; c->qoff = 0; }
            else { c->qoff += (uint32_t)r; r = 0; }
        }
    }
    if (c->want_out) { struct epoll_event e = {EPOLLIN, {.ptr = c}}; epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e); c->want_out = 0; }
    if (c->closing) { c_free(c); return -1; }
    return 0;
}
static seg S_OK, S_GREET, S_CAPA, S_BYE, S_ERR;
static void out(conn *c, seg s) {
    if (!c->q) c->q = malloc(MAXQ * sizeof *c->q);
    if (c->qn < MAXQ) c->q[(c->qh + c->qn++) % MAXQ] = s;
}
/* the usual case: nothing queued, the answer is small: one send, no queue */
static int reply(conn *c, seg s) {
    if (!c->qn && s.len <= 65536) {
        ssize_t r = send(c->fd, blob + s.off, s.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (r == (ssize_t)s.len) return 0;
        if (r < 0 && errno != EAGAIN) { c_free(c); return -1; }
        out(c, s);
        if (r > 0) c->qoff = (uint32_t)r;
        return flush(c);
    }
    out(c, s);
    return 0;
}
static seg answer(conn *c, char *l, int n) {
    uint32_t v = 0;
    if (n < 4) return S_ERR;
    memcpy(&v, l, 4);
    v &= 0xdfdfdfdf;
#define V(a, b, d, e) ((uint32_t)a | (uint32_t)b << 8 | (uint32_t)d << 16 | (uint32_t)e << 24)
    switch (v) {
    case V('U', 'S', 'E', 'R'): if (n > 5 && l[5] >= 'a' && l[5] <= 'z') c->s = &sets[l[5] - 'a']; return S_OK;
    case V('P', 'A', 'S', 'S'): case V('N', 'O', 'O', 'P'): case V('R', 'S', 'E', 'T'): case V('D', 'E', 'L', 'E'): return S_OK;
    case V('S', 'T', 'A', 'T'): return c->s->stat;
    case V('L', 'I', 'S', 'T'): return c->s->list;
    case V('U', 'I', 'D', 'L'): return c->s->uidl;
    case V('C', 'A', 'P', 'A'): return S_CAPA;
    case V('Q', 'U', 'I', 'T'): c->closing = 1; return S_BYE;
    case V('R', 'E', 'T', 'R'): { int i = n > 5 ? atoi(l + 5) : 0; return i >= 1 && i <= c->s->n ? c->s->msg[i - 1] : S_ERR; }
    }
    return S_ERR;
}
static void readable(conn *c) {
    ssize_t r = recv(c->fd, c->in + c->inlen, sizeof c->in - (size_t)c->inlen, MSG_DONTWAIT);
    if (r <= 0) { if (r == 0 || errno != EAGAIN) c_free(c); return; }
    c->inlen += (int)r;
    char *p = c->in, *e = c->in + c->inlen, *nl;
    while (!c->closing && (nl = memchr(p, '\n', (size_t)(e - p)))) {
        *nl = 0;
        seg s = answer(c, p, (int)(nl - p));
        p = nl + 1;
        if (p < e) out(c, s); /* pipelined: gather */
        else if (reply(c, s) < 0) return;
    }
    c->inlen = (int)(e - p);
    if (c->inlen == (int)sizeof c->in) c->inlen = 0;
    if (c->inlen && p != c->in) memmove(c->in, p, (size_t)c->inlen);
    if (c->qn) { if (!c->want_out) flush(c); }
    else if (c->closing) c_free(c);
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    signal(SIGPIPE, SIG_IGN);
    struct rlimit rl;
    getrlimit(RLIMIT_NOFILE, &rl);
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);
    mfd = memfd_create("ideal", 0);
    S_OK = put("+OK\r\n", 5);
    S_ERR = put("-ERR\r\n", 6);
    S_GREET = put("+OK ideal ready\r\n", 17);
    S_BYE = put("+OK bye\r\n", 9);
    static const char capa[] = "+OK\r\nUSER\r\nUIDL\r\nTOP\r\nPIPELINING\r\n.\r\n";
    S_CAPA = put(capa, sizeof capa - 1);
    for (const char *p = argv[3]; *p; p++)
        if (*p >= 'a' && *p <= 'z') load(argv[2], *p);
    int ls = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(ls, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    a.sin_addr.s_addr = htonl(0x7f000001);
    if (bind(ls, (struct sockaddr *)&a, sizeof a) || listen(ls, 4096)) { perror("bind"); return 1; }
    ep = epoll_create1(0);
    struct epoll_event e = {EPOLLIN, {.ptr = NULL}}, ev[512];
    epoll_ctl(ep, EPOLL_CTL_ADD, ls, &e);
    for (;;) {
        int n = epoll_wait(ep, ev, 512, -1);
        for (int i = 0; i < n; i++) {
            conn *c = ev[i].data.ptr;
            if (!c) {
                for (int k = 0; k < 64; k++) {
                    int fd = accept4(ls, NULL, NULL, SOCK_NONBLOCK);
                    if (fd < 0) break;
                    c = c_new(fd);
                    send(fd, blob + S_GREET.off, S_GREET.len, MSG_NOSIGNAL);
                    struct epoll_event x = {EPOLLIN, {.ptr = c}};
                    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &x);
                }
            } else if (ev[i].events & EPOLLOUT) { if (flush(c) == 0 && (ev[i].events & EPOLLIN)) readable(c); }
            else readable(c);
        }
    }
}
