/* What the kernel alone costs, for comparison. Not a server: it takes well-formed upgrades and frames for granted.
 *
 * usage: floor TICK_MS PAYLOAD
 *   prints its port; every text frame is unmasked and sent back, all of one recv() with one send(); with a TICK_MS other
 *   than 0 every connection gets PAYLOAD as one frame, built once, at every tick since which a frame came in, by a plain
 *   send() loop.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

typedef struct { int fd, upgraded; size_t size; unsigned char in[16384]; } Connection;

static Connection *all[65536];
static int highest, moved;

static void answer(Connection *c, const void *data, size_t size) {
    while (size) {
        ssize_t n = send(c->fd, data, size, MSG_NOSIGNAL);
        if (n < 0) return;
        data = (const char *)data + n;
        size -= (size_t)n;
    }
}

static size_t frame(unsigned char *to, const unsigned char *payload, size_t size) {
    size_t head = 2;
    to[0] = 0x81;
    if (size < 126) to[1] = (unsigned char)size;
    else { to[1] = 126; to[2] = (unsigned char)(size >> 8); to[3] = (unsigned char)size; head = 4; }
    if (payload) memcpy(to + head, payload, size);
    return head + size;
}

static void readable(Connection *c) {
    static unsigned char out[32768];
    static const char upgrade[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                  "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    ssize_t n = recv(c->fd, c->in + c->size, sizeof c->in - c->size, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) { all[c->fd] = NULL; close(c->fd); free(c); return; }
    c->size += (size_t)n;
    size_t at = 0, filled = 0;
    if (!c->upgraded) {
        unsigned char *end = memmem(c->in, c->size, "\r\n\r\n", 4);
        if (!end) return;
        at = (size_t)(end + 4 - c->in);
        c->upgraded = 1;
        answer(c, upgrade, sizeof upgrade - 1);
    }
    while (c->size - at >= 6) {
        unsigned char *p = c->in + at;
        size_t head = 6, length = p[1] & 127;
        if (length == 126) { if (c->size - at < 8) break; length = (size_t)p[2] << 8 | p[3]; head = 8; }
        if (c->size - at < head + length) break;
        for (size_t i = 0; i < length; i++) p[head + i] ^= p[head - 4 + (i & 3)];
        if ((p[0] & 15) == 1) moved = 1, filled += frame(out + filled, p + head, length);
        at += head + length;
    }
    memmove(c->in, c->in + at, c->size - at);
    c->size -= at;
    if (filled) answer(c, out, filled);
}

int main(int argc, char **argv) {
    if (argc != 3) { fprintf(stderr, "usage: floor TICK_MS PAYLOAD\n"); return 2; }
    int tick = atoi(argv[1]), listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    if (bind(listener, (struct sockaddr *)&a, size) || listen(listener, 4096)) { perror("listen"); return 1; }
    getsockname(listener, (struct sockaddr *)&a, &size);
    printf("%d\n", ntohs(a.sin_port));
    fflush(stdout);
    unsigned char *tally = malloc(strlen(argv[2]) + 16);
    size_t tally_size = frame(tally, (unsigned char *)argv[2], strlen(argv[2]));
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), poller = epoll_create1(0);
    struct itimerspec every = {{tick / 1000, tick % 1000 * 1000000L}, {tick / 1000, tick % 1000 * 1000000L}};
    if (tick) timerfd_settime(timer, 0, &every, NULL);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = listener}, ready[512];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e);
    e.data.fd = timer;
    epoll_ctl(poller, EPOLL_CTL_ADD, timer, &e);
    for (;;) {
        int n = epoll_wait(poller, ready, 512, -1);
        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.fd;
            if (fd == listener) {
                int one = 1, peer;
                while ((peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    if (peer >= 65536) { close(peer); continue; }
                    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    all[peer] = calloc(1, sizeof(Connection));
                    all[peer]->fd = peer;
                    if (peer > highest) highest = peer;
                    e.data.fd = peer;
                    epoll_ctl(poller, EPOLL_CTL_ADD, peer, &e);
                }
            } else if (fd == timer) {
                uint64_t ticks;
                if (read(timer, &ticks, sizeof ticks) < 0) continue;
                for (int peer = 0; moved && peer <= highest; peer++)
                    if (all[peer] && all[peer]->upgraded) send(peer, tally, tally_size, MSG_NOSIGNAL);
                moved = 0;
            } else if (all[fd]) readable(all[fd]);
        }
    }
}
