/* Load for the benchmark: one process, one thread, epoll; WebSocket or keep-alive HTTP.
 *
 * usage: load PLAN PORT, then commands on stdin, one JSON line of answer each:
 *   open PARALLEL                         connect all, say the opening messages; PARALLEL at a time
 *   run SECONDS VOTES IN_FLIGHT RATE      send the next ballots of each connection: at most VOTES (0: none, only watch),
 *                                         IN_FLIGHT a connection, RATE a second over all (0: as fast as answers come)
 * End of input ends it. The plan is records of {kind: byte, size: u32 little endian, bytes}:
 *   M ws|http   P path of the upgrade   A how an answer begins   U mark of an update
 *   S a connection; what follows is its own   O expect NUL payload: opening message   V ballot
 * A ballot holds "id":"vN" with N its position in the plan, so that its answer finds it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { NEW, CONNECTING, UPGRADING, OPENING, READY, DEAD };

typedef struct { const char *expect; uint32_t expect_size; const char *payload; uint32_t size; } Step;

typedef struct {
    int fd, state, in_flight;
    uint32_t step, first_step, end_step, next, end;
    uint64_t seq;
    char *in; size_t in_size, in_room;
    char *out; size_t out_size, out_room;
} Connection;

typedef struct { uint64_t from, to, at; } Shown;

static Connection *connections; static uint32_t connection_count;
static Step *steps; static uint32_t step_count;
static char *arena; static size_t arena_size, arena_room;
static size_t *offsets;            /* of each ballot in the arena, and the end */
static uint64_t *sent_at; static uint32_t ballot_count;
static uint32_t *latencies; static size_t latency_count; /* microseconds */
static uint64_t *seq_sent; static size_t seq_room;       /* ns by seq */
static Shown *shown; static size_t shown_count, shown_room;
static int http, port, poller, opened, opening, running;
static char path[256] = "/ws", ack[128], update[128];
static size_t ack_size, update_size;
static uint64_t acks, errors, updates, update_bytes, sent, sent_limit, lost;
static int in_flight_limit; static double rate;
static uint64_t now, last_ack, waiting;
static char first_error[300];

static uint64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void *more(void *p, size_t size) {
    p = realloc(p, size);
    if (!p) { perror("realloc"); exit(1); }
    return p;
}

static void put(const void *data, size_t size) {
    while (arena_size + size > arena_room) arena = more(arena, arena_room = arena_room ? arena_room * 2 : 1 << 20);
    memcpy(arena + arena_size, data, size);
    arena_size += size;
}

static size_t header(unsigned char *h, int opcode, size_t size, const unsigned char *key) {
    size_t n = 2;
    h[0] = (unsigned char)(0x80 | opcode);
    if (size < 126) h[1] = (unsigned char)(0x80 | size);
    else { h[1] = 0x80 | 126; h[2] = (unsigned char)(size >> 8); h[3] = (unsigned char)size; n = 4; }
    memcpy(h + n, key, 4);
    return n + 4;
}

static void put_frame(const char *payload, size_t size) {
    unsigned char h[8], key[4];
    for (int i = 0; i < 4; i++) key[i] = (unsigned char)(rand() >> 7);
    put(h, header(h, 1, size, key));
    size_t at = arena_size;
    put(payload, size);
    for (size_t i = 0; i < size; i++) arena[at + i] ^= (char)key[i & 3];
}

static void text(char *to, size_t room, const char *from, uint32_t size) {
    if (size >= room) { fprintf(stderr, "too long\n"); exit(1); }
    memcpy(to, from, size);
    to[size] = 0;
}

static void read_plan(const char *name) {
    FILE *f = fopen(name, "rb");
    if (!f) { perror(name); exit(1); }
    fseek(f, 0, SEEK_END);
    size_t size = (size_t)ftell(f);
    rewind(f);
    char *plan = more(NULL, size + 1), *p = plan;
    if (fread(plan, 1, size, f) != size) { perror(name); exit(1); }
    fclose(f);
    uint32_t c_room = 0, s_room = 0, v_room = 0;
    Connection *c = NULL;
    while (p < plan + size) {
        char kind = *p;
        uint32_t n;
        memcpy(&n, p + 1, 4);
        char *data = p + 5;
        p = data + n;
        switch (kind) {
        case 'M': http = n == 4; break;
        case 'P': text(path, sizeof path, data, n); break;
        case 'A': text(ack, sizeof ack, data, n); ack_size = n; break;
        case 'U': text(update, sizeof update, data, n); update_size = n; break;
        case 'S':
            if (connection_count == c_room) connections = more(connections, (c_room = c_room * 2 + 64) * sizeof *c);
            c = &connections[connection_count++];
            memset(c, 0, sizeof *c);
            c->fd = -1;
            c->first_step = c->end_step = step_count;
            c->next = c->end = ballot_count;
            break;
        case 'O': {
            if (step_count == s_room) steps = more(steps, (s_room = s_room * 2 + 64) * sizeof *steps);
            uint32_t e = (uint32_t)strlen(data);
            steps[step_count++] = (Step){data, e, data + e + 1, n - e - 1};
            c->end_step = step_count;
            break;
        }
        case 'V':
            if (ballot_count + 1 >= v_room) offsets = more(offsets, (v_room = v_room * 2 + 1024) * sizeof *offsets);
            offsets[ballot_count++] = arena_size;
            if (http) put(data, n); else put_frame(data, n);
            offsets[ballot_count] = arena_size;
            c->end = ballot_count;
            break;
        default: fprintf(stderr, "bad plan\n"); exit(1);
        }
    }
    sent_at = calloc(ballot_count + 1, sizeof *sent_at);
    latencies = calloc(ballot_count + 1, sizeof *latencies);
    if (!sent_at || !latencies) exit(1);
}

static void watch(Connection *c, int op) {
    struct epoll_event e = {.events = EPOLLIN | (c->out_size || c->state == CONNECTING ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(poller, op, c->fd, &e);
}

static void drop(Connection *c, const char *why) {
    if (c->state == DEAD) return;
    if (!first_error[0]) snprintf(first_error, sizeof first_error, "connection lost: %s", why);
    if (c->state != READY) opening--;
    c->state = DEAD;
    waiting -= (uint64_t)c->in_flight;
    c->in_flight = 0;
    lost++;
    close(c->fd);
}

static void transmit(Connection *c, const char *data, size_t size) {
    if (!c->out_size) {
        ssize_t n = send(c->fd, data, size, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) { drop(c, strerror(errno)); return; }
        if (n > 0) { data += n; size -= (size_t)n; }
        if (!size) return;
    }
    if (c->out_size + size > c->out_room) c->out = more(c->out, c->out_room = (c->out_size + size) * 2);
    memcpy(c->out + c->out_size, data, size);
    c->out_size += size;
    watch(c, EPOLL_CTL_MOD);
}

static void send_frame(Connection *c, int opcode, const char *payload, size_t size) {
    unsigned char buffer[8192], key[4] = {0x37, 0xfa, 0x21, 0x3d};
    if (size > sizeof buffer - 8) { fprintf(stderr, "message too long\n"); exit(1); }
    size_t n = header(buffer, opcode, size, key);
    for (size_t i = 0; i < size; i++) buffer[n + i] = (unsigned char)payload[i] ^ key[i & 3];
    transmit(c, (char *)buffer, n + size);
}

static void open_next(void);

static void advance(Connection *c) {
    if (c->step == c->end_step) {
        c->state = READY;
        opened++;
        opening--;
        return;
    }
    Step *s = &steps[c->step];
    if (s->size) send_frame(c, 1, s->payload, s->size);
}

/* Ballots of one connection stand behind each other in the arena: any number goes with one send(). */
static void vote(Connection *c, uint32_t count) {
    if (count > c->end - c->next) count = c->end - c->next;
    if (sent_limit - sent < count) count = (uint32_t)(sent_limit - sent);
    if (!count) return;
    for (uint32_t i = 0; i < count; i++) sent_at[c->next + i] = now;
    uint32_t from = c->next;
    c->next += count;
    c->in_flight += (int)count;
    waiting += count;
    sent += count;
    transmit(c, arena + offsets[from], offsets[from + count] - offsets[from]);
}

static uint64_t number_after(const char *data, size_t size, const char *mark, size_t mark_size, uint64_t otherwise) {
    const char *at = memmem(data, size, mark, mark_size), *end = data + size;
    if (!at) return otherwise;
    uint64_t value = 0;
    for (at += mark_size; at < end && *at >= '0' && *at <= '9'; at++) value = value * 10 + (uint64_t)(*at - '0');
    return value;
}

static void answered(Connection *c, const char *data, size_t size, int accepted) {
    uint64_t number = number_after(data, size, "\"id\":\"v", 7, ballot_count);
    if (number < ballot_count && sent_at[number]) {
        if (accepted) latencies[latency_count++] = (uint32_t)((now - sent_at[number]) / 1000);
        if (accepted && update_size) {
            uint64_t seq = number_after(data, size, "\"seq\":", 6, 0);
            if (seq >= seq_room && seq < 100000000) {
                size_t room = (size_t)seq * 2 + 65536;
                seq_sent = more(seq_sent, room * sizeof *seq_sent);
                memset(seq_sent + seq_room, 0, (room - seq_room) * sizeof *seq_sent);
                seq_room = room;
            }
            if (seq < seq_room) seq_sent[seq] = sent_at[number];
        }
        sent_at[number] = 0;
    }
    if (accepted) acks++;
    else {
        errors++;
        if (!first_error[0]) snprintf(first_error, sizeof first_error, "%.*s", (int)(size < 280 ? size : 280), data);
    }
    last_ack = now;
    if (c->in_flight) { c->in_flight--; waiting--; }
}

static void message(Connection *c, const char *data, size_t size) {
    if (c->state == OPENING) {
        Step *s = &steps[c->step];
        if (memmem(data, size, s->expect, s->expect_size)) {
            if (update_size) c->seq = number_after(data, size, "\"seq\":", 6, c->seq);
            c->step++;
            advance(c);
        } else if (memmem(data, size, "ERROR", 5)) {
            drop(c, "refused while opening");
            snprintf(first_error, sizeof first_error, "%.*s", (int)(size < 280 ? size : 280), data);
        }
        return;
    }
    if (size >= ack_size && !memcmp(data, ack, ack_size)) { answered(c, data, size, 1); return; }
    if (update_size && memmem(data, size < 64 ? size : 64, update, update_size)) {
        updates++;
        update_bytes += size;
        if (running) {
            uint64_t seq = number_after(data, size, "\"seq\":", 6, c->seq);
            if (seq > c->seq) {
                if (shown_count == shown_room) shown = more(shown, (shown_room = shown_room * 2 + 65536) * sizeof *shown);
                shown[shown_count++] = (Shown){c->seq, seq, now};
                c->seq = seq;
            }
        }
        return;
    }
    if (size == 1 && *data == '2') send_frame(c, 1, "3", 1); /* Engine.IO's own ping */
    else if (memmem(data, size, "ERROR", 5)) answered(c, data, size, 0);
}

static size_t take_http(Connection *c, char *p, size_t size) {
    char *body = memmem(p, size, "\r\n\r\n", 4);
    if (!body) return 0;
    body += 4;
    size_t length = 0;
    for (char *line = p; line < body; line = (char *)memchr(line, '\n', (size_t)(body - line)) + 1)
        if (!strncasecmp(line, "content-length:", 15)) length = (size_t)atoll(line + 15);
    if ((size_t)(p + size - body) < length) return 0;
    answered(c, body, length, !memcmp(p + 9, "20", 2));
    return (size_t)(body - p) + length;
}

static size_t take_frame(Connection *c, char *p, size_t size) {
    if (size < 2) return 0;
    unsigned char *u = (unsigned char *)p;
    size_t head = 2, length = u[1] & 127;
    if (length == 126) { if (size < 4) return 0; length = (size_t)u[2] << 8 | u[3]; head = 4; }
    else if (length == 127) {
        if (size < 10) return 0;
        length = 0;
        for (int i = 2; i < 10; i++) length = length << 8 | u[i];
        head = 10;
    }
    if (size < head + length) return 0;
    int opcode = u[0] & 15;
    if (opcode == 9) send_frame(c, 10, p + head, length);
    else if (opcode == 8) {
        char why[160];
        int code = length >= 2 ? (unsigned char)p[head] << 8 | (unsigned char)p[head + 1] : 0;
        snprintf(why, sizeof why, "closed with %d", code);
        drop(c, why);
    } else if (opcode == 1 || opcode == 2) message(c, p + head, length);
    return head + length;
}

static void readable(Connection *c) {
    for (;;) {
        if (c->in_room - c->in_size < 4096) c->in = more(c->in, c->in_room = c->in_room ? c->in_room * 2 : 8192);
        size_t room = c->in_room - c->in_size;
        ssize_t n = recv(c->fd, c->in + c->in_size, room, 0);
        if (n == 0) { drop(c, "end of stream"); return; }
        if (n < 0) { if (errno != EAGAIN) drop(c, strerror(errno)); break; }
        c->in_size += (size_t)n;
        size_t at = 0;
        if (c->state == UPGRADING) {
            char *end = memmem(c->in, c->in_size, "\r\n\r\n", 4);
            if (!end) continue;
            if (memcmp(c->in + 9, "101", 3)) { drop(c, "upgrade refused"); return; }
            at = (size_t)(end + 4 - c->in);
            c->state = OPENING;
            c->step = c->first_step;
            advance(c);
        }
        while (at < c->in_size && c->state != DEAD) {
            size_t used = (http ? take_http : take_frame)(c, c->in + at, c->in_size - at);
            if (!used) break;
            at += used;
        }
        if (c->state == DEAD) return;
        memmove(c->in, c->in + at, c->in_size - at);
        c->in_size -= at;
        if ((size_t)n < room) break;
    }
    if (!c->in_size) { free(c->in); c->in = NULL; c->in_room = 0; }
    if (running && c->state == READY && !rate && c->in_flight < in_flight_limit) vote(c, (uint32_t)(in_flight_limit - c->in_flight));
}

static void writable(Connection *c) {
    if (c->state == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) { drop(c, strerror(error)); return; }
        if (http) { c->state = READY; opened++; opening--; }
        else {
            char request[512];
            int n = snprintf(request, sizeof request,
                "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", path, port);
            c->state = UPGRADING;
            transmit(c, request, (size_t)n);
        }
    } else if (c->out_size) {
        ssize_t n = send(c->fd, c->out, c->out_size, MSG_NOSIGNAL);
        if (n < 0) { if (errno != EAGAIN) drop(c, strerror(errno)); return; }
        memmove(c->out, c->out + n, c->out_size - (size_t)n);
        c->out_size -= (size_t)n;
        if (!c->out_size) { free(c->out); c->out = NULL; c->out_room = 0; }
    }
    if (c->state != DEAD) watch(c, EPOLL_CTL_MOD);
}

static uint32_t to_open;

static void open_next(void) {
    Connection *c = &connections[to_open++];
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) { perror("socket"); exit(1); }
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    c->state = CONNECTING;
    opening++;
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) { drop(c, strerror(errno)); return; }
    watch(c, EPOLL_CTL_ADD);
}

static void events(int timeout) {
    struct epoll_event ready[512];
    int n = epoll_wait(poller, ready, 512, timeout);
    now = clock_ns();
    for (int i = 0; i < n; i++) {
        Connection *c = ready[i].data.ptr;
        if (!c || c->state == DEAD) continue;
        if (ready[i].events & EPOLLOUT) writable(c);
        if (c->state != DEAD && ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(c);
    }
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double part(double q) {
    return latency_count ? latencies[(size_t)(q * (double)(latency_count - 1))] / 1000.0 : 0;
}

enum { BUCKETS = 600000 }; /* of 0.1 ms */
static uint32_t histogram[BUCKETS];

static double visible(double q, uint64_t total) {
    uint64_t below = 0;
    for (int i = 0; i < BUCKETS; i++) if ((below += histogram[i]) && (double)below >= q * (double)total) return i / 10.0;
    return 0;
}

static void open_all(int parallel) {
    uint64_t start = now = clock_ns();
    lost = 0;
    first_error[0] = 0;
    while ((uint32_t)opened + lost < connection_count) {
        while (opening < parallel && to_open < connection_count) open_next();
        events(1000);
        if (now - start > 300ull * 1000000000) break;
    }
    printf("{\"opened\": %d, \"lost\": %llu, \"seconds\": %.4f, \"error\": \"", opened, (unsigned long long)lost, (double)(clock_ns() - start) / 1e9);
    for (char *p = first_error; *p; p++) if (*p != '"' && *p != '\\' && *p >= ' ') putchar(*p);
    printf("\"}\n");
}

static void run(double seconds, uint64_t limit, int each, double a_second) {
    static uint32_t turn;
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    uint64_t start = now = clock_ns(), until = start + (uint64_t)(seconds * 1e9);
    acks = errors = updates = update_bytes = sent = lost = 0;
    latency_count = shown_count = 0;
    first_error[0] = 0;
    sent_limit = limit;
    in_flight_limit = each;
    rate = a_second;
    last_ack = start;
    running = 1;
    if (!rate) for (uint32_t i = 0; i < connection_count; i++) if (connections[i].state == READY) vote(&connections[i], (uint32_t)each);
    while (now < until) {
        if (rate) {
            uint64_t due = (uint64_t)((double)(now - start) / 1e9 * rate), tried = 0;
            if (due > sent_limit) due = sent_limit;
            while (sent < due && tried++ < connection_count) {
                Connection *c = &connections[turn++ % connection_count];
                if (c->state == READY && c->next < c->end && c->in_flight < each) { vote(c, 1); tried = 0; }
            }
        }
        events(rate ? 1 : 20);
        if (limit && sent >= limit && !waiting) break;
        if (limit && !rate && !waiting) break; /* no ballots left */
    }
    uint64_t stopped = now;
    sent_limit = sent;
    while (waiting && now - stopped < 10ull * 1000000000) events(20);
    uint64_t end = limit ? last_ack : now;
    if (update_size && limit) { /* the last votes become visible, too */
        stopped = now;
        while (now - stopped < 400000000ull) events(20);
    }
    running = 0;
    getrusage(RUSAGE_SELF, &after);
    qsort(latencies, latency_count, sizeof *latencies, by_value);
    uint64_t total = 0;
    memset(histogram, 0, sizeof histogram);
    for (size_t i = 0; i < shown_count; i++)
        for (uint64_t s = shown[i].from + 1; s <= shown[i].to && s < seq_room; s++)
            if (seq_sent[s] >= start) {
                uint64_t late = shown[i].at > seq_sent[s] ? (shown[i].at - seq_sent[s]) / 100000 : 0;
                histogram[late < BUCKETS ? late : BUCKETS - 1]++;
                total++;
            }
    double cpu = (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_stime.tv_sec)
        + (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_stime.tv_usec) / 1e6;
    printf("{\"acks\": %llu, \"errors\": %llu, \"unanswered\": %llu, \"lost\": %llu, \"updates\": %llu, \"update_bytes\": %llu, \"seconds\": %.4f, "
           "\"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f, \"shown\": %llu, \"visible_p50\": %.1f, \"visible_p99\": %.1f, "
           "\"visible_max\": %.1f, \"cpu\": %.4f, \"error\": \"",
        (unsigned long long)acks, (unsigned long long)errors, (unsigned long long)waiting, (unsigned long long)lost,
        (unsigned long long)updates, (unsigned long long)update_bytes, (double)(end - start) / 1e9,
        part(0.5), part(0.99), part(1), (unsigned long long)total, visible(0.5, total), visible(0.99, total), visible(1, total), cpu);
    for (char *p = first_error; *p; p++) if (*p != '"' && *p != '\\' && *p >= ' ') putchar(*p);
    printf("\"}\n");
}

int main(int argc, char **argv) {
    if (argc != 3) { fprintf(stderr, "usage: load PLAN PORT\n"); return 2; }
    setvbuf(stdout, NULL, _IOLBF, 0);
    read_plan(argv[1]);
    port = atoi(argv[2]);
    poller = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &e);
    printf("{\"connections\": %u, \"ballots\": %u}\n", connection_count, ballot_count);
    char line[256];
    size_t filled = 0;
    fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
    for (;;) {
        ssize_t n = read(0, line + filled, sizeof line - 1 - filled);
        if (n == 0) return 0;
        if (n > 0) filled += (size_t)n;
        char *end = memchr(line, '\n', filled);
        if (!end) { events(1000); continue; }
        *end = 0;
        int parallel, each;
        unsigned long long limit;
        double seconds, a_second;
        if (sscanf(line, "open %d", &parallel) == 1) open_all(parallel);
        else if (sscanf(line, "run %lf %llu %d %lf", &seconds, &limit, &each, &a_second) == 4) run(seconds, limit, each, a_second);
        else { fprintf(stderr, "unknown command: %s\n", line); return 2; }
        filled -= (size_t)(end + 1 - line);
        memmove(line, end + 1, filled);
    }
}
