// CUDA C++ on the CPU, for tests: the same kernel sources, compiled by g++, run thread by thread.
//
// What it is for is to find mistakes, not to be fast.  Blocks run one after the other; the threads
// of a block are fibers, each of which runs until it must wait for others.  So what lacks a barrier
// reads what is not there yet, and:
//
//  * shared memory holds 0xFF in every byte, which is NaN, when a block begins;
//  * threads, warps and blocks take turns in an order drawn from a seed (0: as they are numbered);
//  * `copy_async_*` may be deferred: what it will write is 0xFF until `copy_async_wait` asks for it;
//  * a barrier or a warp's collective that not all threads reach, or not all in the same line, is
//    an error, where a card may hang, or go on with anything;
//  * dynamic shared memory has exactly the bytes that were asked for.
//
// It is stricter than a card: a thread that has returned still counts at a barrier, and a warp's
// collectives want all lanes.  It is blind to what two threads do to one place between barriers,
// unless some order of turns makes the result wrong.
//
// A kernel must not have the name of a C function.
//
// `mma_tf32` and `mma_bf16` add the exact products in float64 and round once, to float32; a tensor
// core rounds a little worse.
#pragma once

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#include <algorithm>
#include <type_traits>
#include <utility>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#define MINICNN_EMULATED 1

// --- words of the language -----------------------------------------------------------------------

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __launch_bounds__(...)
#define __forceinline__
#define __align__(bytes) alignas(bytes)

// Shared memory is all there is in .bss; `used`, or g++ would know that nothing wrote to it.
#define __shared__ static __attribute__((used))
#define DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(emulated::dynamic_shared)

// The emulator's own variables lie elsewhere.
#define EMULATOR_STATE __attribute__((section(".data.emulator"))) static

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

#define VECTORS(name, type)                                                                       \
    struct alignas(2 * sizeof(type)) name##2 {                                                    \
        type x, y;                                                                                \
    };                                                                                            \
    struct alignas(4 * sizeof(type) < 16 ? 4 * sizeof(type) : 16) name##4 {                       \
        type x, y, z, w;                                                                          \
    };                                                                                            \
    inline name##2 make_##name##2(type x, type y) { return {x, y}; }                              \
    inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
VECTORS(float, float)
VECTORS(double, double)
VECTORS(int, int)
VECTORS(uint, unsigned)
VECTORS(longlong, long long)
VECTORS(ulonglong, unsigned long long)
VECTORS(short, short)
VECTORS(ushort, unsigned short)
VECTORS(char, signed char)
VECTORS(uchar, unsigned char)
#undef VECTORS

EMULATOR_STATE uint3 threadIdx, blockIdx;
EMULATOR_STATE dim3 blockDim, gridDim;
constexpr int warpSize = 32;

// --- threads as fibers ---------------------------------------------------------------------------

namespace emulated {

#ifdef __SANITIZE_ADDRESS__
constexpr size_t STACK_BYTES = 256 * 1024;
#else
constexpr size_t STACK_BYTES = 64 * 1024;
#endif

constexpr size_t STACKS = 64;  // that are taken together

void thread_main();

#if defined(__x86_64__)

using Context = void*;  // the stack pointer; what must be kept lies above it

// Keep what a call must not change, and go on where `to` was left.
extern "C" __attribute__((visibility("hidden"))) void minicnn_switch(Context* from, Context to);
asm(R"(
    .text
    .hidden minicnn_switch
    .type minicnn_switch, @function
minicnn_switch:
    pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
    popq %rcx; jmp *%rcx
    .size minicnn_switch, .-minicnn_switch
)");

inline void switch_context(Context& from, Context& to) { minicnn_switch(&from, to); }

inline void start_context(Context& context, char* stack) {
    void** top = reinterpret_cast<void**>(stack + STACK_BYTES);
    top[-1] = nullptr;  // where thread_main would return to
    top[-2] = reinterpret_cast<void*>(&thread_main);
    context = top - 8;
}

#else

using Context = ucontext_t;

inline void switch_context(Context& from, Context& to) { swapcontext(&from, &to); }

inline void start_context(Context& context, char* stack) {
    getcontext(&context);
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = STACK_BYTES;
    context.uc_link = nullptr;
    makecontext(&context, &thread_main, 0);
}

#endif

struct Copy {
    void* to;
    const void* from;
    int bytes;
    bool inside;
    long long group;
};

enum class State { fresh, ready, in_warp, in_block, done };

// What a lane shows to its warp; the largest is a's and b's part of mma.
struct Slot {
    unsigned words[8];
};

struct Thread {
    Context context;
    char* stack = nullptr;
    State state = State::fresh;
    uint3 index;
    int number;
    int line = 0;              // of the source, where it waits
    unsigned collectives = 0;  // that it took part in
    unsigned barriers = 0;
    std::vector<Copy> copies;  // on their way
    long long groups = 0;      // of copies, committed
};

struct Warp {
    int lanes = 0, arrived = 0;
    int line = 0;
    Slot slots[2][32];  // two sets: a fast lane may fill the next while a slow one reads the last
};

struct Call {  // must be the structure in tests/helpers/emulation.py
    unsigned grid[3], block[3];
    unsigned long long shared;
    unsigned seed;
    int deferred;
    int count;
    const int* sizes;
    const char* kinds;
    void** arguments;
    char* error;
    int error_bytes;
};

struct Machine {
    const Call* call;
    void (*kernel)(void**);
    std::vector<Thread> threads;
    std::vector<Warp> warps;
    std::vector<char*> free_stacks, all_stacks;
    Context scheduler;
    Thread* current = nullptr;
    int arrived = 0, line = 0, left = 0;
    int votes = 0, ballots[2] = {0, 0};
    unsigned random = 0;
    bool failed = false;
#ifdef __SANITIZE_ADDRESS__
    const void* main_stack = nullptr;
    size_t main_bytes = 0;
#endif
};

EMULATOR_STATE Machine* machine = nullptr;
EMULATOR_STATE char* dynamic_shared = nullptr;

inline void to_scheduler() {
    Thread& me = *machine->current;
#ifdef __SANITIZE_ADDRESS__
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, machine->main_stack, machine->main_bytes);
    switch_context(me.context, machine->scheduler);
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#else
    switch_context(me.context, machine->scheduler);
#endif
}

inline const char* name_of(const Thread& thread) {
    static thread_local char texts[2][80];
    static thread_local int next = 0;
    char* text = texts[next = 1 - next];
    snprintf(text, 80, "thread (%u, %u, %u)", thread.index.x, thread.index.y, thread.index.z);
    return text;
}

// Say what is wrong, once.
__attribute__((format(printf, 1, 2))) inline void say(const char* format, ...) {
    if (machine->failed) return;
    machine->failed = true;
    const Call& call = *machine->call;
    va_list values;
    va_start(values, format);
    int length = vsnprintf(call.error, call.error_bytes, format, values);
    va_end(values);
    if (length >= 0 && length < call.error_bytes)
        snprintf(call.error + length, call.error_bytes - length, " [block (%u, %u, %u)]",
                 blockIdx.x, blockIdx.y, blockIdx.z);
}

[[noreturn]] inline void stop() {
    for (;;) to_scheduler();
}

inline void thread_main() {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(nullptr, &machine->main_stack, &machine->main_bytes);
#endif
    machine->kernel(machine->call->arguments);
    machine->current->state = State::done;
    stop();
}

inline char* new_stack() {
    if (machine->free_stacks.empty()) {
        // Pages that no thread touches cost nothing.
        void* memory = mmap(nullptr, STACKS * STACK_BYTES, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) {
            say("no memory for the stacks of threads");
            return nullptr;
        }
        machine->all_stacks.push_back(static_cast<char*>(memory));
        for (size_t i = STACKS; i-- > 0;)
            machine->free_stacks.push_back(static_cast<char*>(memory) + i * STACK_BYTES);
    }
    char* stack = machine->free_stacks.back();
    machine->free_stacks.pop_back();
    return stack;
}

inline void free_stacks() {
    for (char* memory : machine->all_stacks) {
#ifdef __SANITIZE_ADDRESS__
        __asan_unpoison_memory_region(memory, STACKS * STACK_BYTES);  // of functions that never return
#endif
        munmap(memory, STACKS * STACK_BYTES);
    }
}

// Let a thread run until it waits or returns.
inline void resume(Thread& thread) {
    if (thread.state == State::fresh) {
        thread.stack = new_stack();
        if (!thread.stack) return;
#ifdef __SANITIZE_ADDRESS__
        __asan_unpoison_memory_region(thread.stack, STACK_BYTES);
#endif
        start_context(thread.context, thread.stack);
    }
    thread.state = State::ready;
    machine->current = &thread;
    threadIdx = thread.index;
#ifdef __SANITIZE_ADDRESS__
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, thread.stack, STACK_BYTES);
    switch_context(machine->scheduler, thread.context);
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#else
    switch_context(machine->scheduler, thread.context);
#endif
    if (thread.state == State::done) {
        machine->left--;
        machine->free_stacks.push_back(thread.stack);  // still in the cache for the next one
    }
}

inline unsigned draw(unsigned below) {
    machine->random = machine->random * 1664525u + 1013904223u;
    return (static_cast<unsigned long long>(machine->random) * below) >> 32;
}

template <typename T>
void shuffle(std::vector<T>& order) {
    for (size_t i = order.size(); i > 1; i--) std::swap(order[i - 1], order[draw(i)]);
}

// --- barriers ------------------------------------------------------------------------------------

inline void arrive_apart(const Thread& me, const char* what, int line, int other) {
    say("%s is at a %s in line %d, others of the %s at one in line %d", name_of(me), what, line,
        strcmp(what, "barrier") ? "warp" : "block", other);
    stop();
}

// Wait for all threads of the block; return how many of them said yes.
inline int wait_for_block(bool vote, int line) {
    Machine& m = *machine;
    Thread& me = *m.current;
    if (m.arrived && m.line != line) arrive_apart(me, "barrier", line, m.line);
    int set = me.barriers++ & 1;
    m.line = line;
    m.votes += vote;
    if (++m.arrived == static_cast<int>(m.threads.size())) {
        m.ballots[set] = m.votes;
        m.arrived = m.votes = 0;
        for (Thread& other : m.threads) other.state = State::ready;
    } else {
        me.state = State::in_block;
        me.line = line;
        to_scheduler();
    }
    return m.ballots[set];
}

// Show `value` to the warp, wait for all its lanes, and return what they show.
template <typename T>
const Slot* wait_for_warp(unsigned mask, const T& value, int line) {
    static_assert(sizeof(T) <= sizeof(Slot));
    Machine& m = *machine;
    Thread& me = *m.current;
    Warp& warp = m.warps[me.number / 32];
    if (warp.lanes < 32 ? ~mask & ((1u << warp.lanes) - 1) : ~mask) {
        say("%s asks for the lanes %#x in line %d; only whole warps are emulated", name_of(me),
            mask, line);
        stop();
    }
    if (warp.arrived && warp.line != line) arrive_apart(me, "collective", line, warp.line);
    Slot* slots = warp.slots[me.collectives++ & 1];
    memcpy(slots[me.number % 32].words, &value, sizeof(T));
    warp.line = line;
    if (++warp.arrived == warp.lanes) {
        warp.arrived = 0;
        Thread* lanes = &m.threads[me.number / 32 * 32];
        for (int lane = 0; lane < warp.lanes; lane++) lanes[lane].state = State::ready;
    } else {
        me.state = State::in_warp;
        me.line = line;
        to_scheduler();
    }
    return slots;
}

template <typename T>
T shown(const Slot* slots, int lane) {
    T value;
    memcpy(&value, slots[lane].words, sizeof(T));
    return value;
}

inline int lane() { return machine->current->number % 32; }

// --- a launch ------------------------------------------------------------------------------------

extern "C" __attribute__((visibility("hidden"))) char __bss_start[], _end[];

// Fill all static shared memory; the redzones of AddressSanitizer lie in it, so it must not look.
__attribute__((no_sanitize("address"))) inline void poison_static() {
#ifdef __SANITIZE_ADDRESS__
    for (volatile char* byte = __bss_start; byte != _end; byte++) *byte = -1;
#else
    memset(__bss_start, 0xFF, _end - __bss_start);
#endif
}

#ifdef __SANITIZE_ADDRESS__
constexpr int MARGIN = 0;
#else
constexpr int MARGIN = 64;  // bytes behind dynamic shared memory that tell of writes beyond it
#endif

inline void report_deadlock() {
    const Thread* waiting = nullptr;
    const Thread* other = nullptr;
    for (const Thread& thread : machine->threads)
        if (thread.state == State::in_warp) waiting = &thread;
    if (!waiting)
        for (const Thread& thread : machine->threads)
            if (thread.state == State::in_block) waiting = &thread;
    bool in_warp = waiting->state == State::in_warp;
    for (const Thread& thread : machine->threads)
        if (thread.state != waiting->state && (!in_warp || thread.number / 32 == waiting->number / 32))
            other = &thread;
    const char* what = in_warp ? "collective" : "barrier";
    if (other && other->state == State::done)
        say("%s waits at a %s in line %d, but %s has returned", name_of(*waiting), what,
            waiting->line, name_of(*other));
    else
        say("%s waits at a %s in line %d, but %s waits in line %d", name_of(*waiting), what,
            waiting->line, name_of(*other), other->line);
}

inline void run_block() {
    Machine& m = *machine;
    poison_static();
    memset(dynamic_shared, 0xFF, m.call->shared);
    const dim3 size = blockDim;
    const int count = size.x * size.y * size.z;
    m.arrived = m.votes = 0;
    m.left = count;
    std::vector<int> order(m.warps.size());
    for (int i = 0; i < count; i++) {
        Thread& thread = m.threads[i];
        thread.state = State::fresh;
        thread.index = {i % size.x, i / size.x % size.y, i / size.x / size.y};
        thread.number = i;
        thread.collectives = thread.barriers = 0;
        thread.copies.clear();
        thread.groups = 0;
    }
    for (size_t w = 0; w < m.warps.size(); w++) {
        order[w] = w;
        m.warps[w].arrived = 0;
        m.warps[w].lanes = std::min(32, count - int(w) * 32);
        memset(m.warps[w].slots, 0xFF, sizeof(m.warps[w].slots));
    }
    while (m.left) {
        bool moved = false;
        if (m.call->seed) shuffle(order);
        for (int w : order) {
            // A warp runs ahead of the others as far as it can.
            for (bool again = true; again;) {
                again = false;
                unsigned first = m.call->seed ? draw(32) : 0, step = m.call->seed ? 2 * draw(16) + 1 : 1;
                for (unsigned i = 0; i < 32; i++) {
                    int lane = (first + i * step) % 32;
                    if (lane >= m.warps[w].lanes) continue;
                    Thread& thread = m.threads[w * 32 + lane];
                    if (thread.state > State::ready) continue;
                    resume(thread);
                    if (m.failed) return;
                    again = moved = true;
                }
            }
        }
        if (!moved) return report_deadlock();
    }
    for (int i = 0; i < MARGIN; i++)
        if (dynamic_shared[m.call->shared + i] != -1)
            return say("a thread wrote beyond the %llu bytes of dynamic shared memory",
                       m.call->shared);
}

EMULATOR_STATE sigjmp_buf rescue;

inline void on_signal(int signal) { siglongjmp(rescue, signal); }

constexpr int SIGNALS[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};

// Run `body` and report the signals that a mistake in a kernel raises, instead of dying of them.
template <typename Body>
void guarded(Body body) {
#ifdef __SANITIZE_ADDRESS__
    return body();  // it has reports of its own
#endif
    struct sigaction before[4], now = {};
    stack_t stack = {}, stack_before;
    std::vector<char> memory(64 * 1024);
    stack.ss_sp = memory.data();
    stack.ss_size = memory.size();
    sigaltstack(&stack, &stack_before);
    now.sa_handler = on_signal;
    now.sa_flags = SA_ONSTACK | SA_NODEFER;
    for (int i = 0; i < 4; i++) sigaction(SIGNALS[i], &now, &before[i]);
    if (int signal = sigsetjmp(rescue, 1)) {
        const char* what = signal == SIGILL ? "does what C++ leaves undefined (an index beyond an "
                                              "array, a vector at an address that is no multiple "
                                              "of its size, an overflow, a shift too far)"
                           : signal == SIGFPE ? "divides by zero"
                                              : "touches memory that it may not";
        say("%s %s", name_of(*machine->current), what);
    } else {
        body();
    }
    for (int i = 0; i < 4; i++) sigaction(SIGNALS[i], &before[i], nullptr);
    sigaltstack(&stack_before, nullptr);
}

inline int run_grid(const Call& call, void (*kernel)(void**)) {
    Machine here;
    machine = &here;
    here.call = &call;
    here.kernel = kernel;
    here.random = call.seed;
    gridDim = {call.grid[0], call.grid[1], call.grid[2]};
    blockDim = {call.block[0], call.block[1], call.block[2]};
    const int count = blockDim.x * blockDim.y * blockDim.z;
    here.threads.resize(count);
    here.warps.resize((count + 31) / 32);
    const long long blocks = 1LL * gridDim.x * gridDim.y * gridDim.z;
    std::vector<long long> order(blocks);
    for (long long i = 0; i < blocks; i++) order[i] = i;
    if (call.seed) shuffle(order);
    void* memory = nullptr;
    if (posix_memalign(&memory, 128, call.shared + MARGIN)) abort();
    dynamic_shared = static_cast<char*>(memory);
    memset(dynamic_shared + call.shared, -1, MARGIN);
    guarded([&] {
        for (long long i : order) {
            blockIdx = {unsigned(i % gridDim.x), unsigned(i / gridDim.x % gridDim.y),
                        unsigned(i / gridDim.x / gridDim.y)};
            run_block();
            if (machine->failed) break;
        }
    });
    free(dynamic_shared);
    free_stacks();
    machine = nullptr;
    return here.failed;
}

template <typename T>
constexpr char kind_of() {
    if (std::is_pointer_v<T>) return 'P';
    if (std::is_floating_point_v<T>) return 'f';
    return std::is_integral_v<T> ? 'i' : 'V';
}

// Call a kernel with the values that `arguments` point at.
template <auto kernel, typename... Types, size_t... places>
void call_with(void (*)(Types...), std::index_sequence<places...>, void** arguments) {
    kernel(*static_cast<std::remove_reference_t<Types>*>(arguments[places])...);
}

template <typename... Types>
bool fits(void (*)(Types...), const Call& call) {
    const int count = sizeof...(Types);
    const int sizes[] = {int(sizeof(Types))..., 0};
    const char kinds[] = {kind_of<Types>()..., 0};
    if (call.count != count) {
        snprintf(call.error, call.error_bytes, "takes %d arguments, got %d", count, call.count);
        return false;
    }
    for (int i = 0; i < count; i++)
        if (sizes[i] != call.sizes[i] || kinds[i] != call.kinds[i]) {
            snprintf(call.error, call.error_bytes,
                     "argument %d is declared with %d bytes of kind '%c', got %d bytes of kind '%c' "
                     "(P: pointer, f: floating point, i: integer, V: structure)",
                     i, sizes[i], kinds[i], call.sizes[i], call.kinds[i]);
            return false;
        }
    return true;
}

template <typename... Types>
constexpr auto places_of(void (*)(Types...)) {
    return std::index_sequence_for<Types...>();
}

template <auto kernel>
int launch(const Call& call, int most_threads) {
    const unsigned* block = call.block;
    const long long threads = 1LL * block[0] * block[1] * block[2];
    if (threads < 1 || threads > most_threads) {
        snprintf(call.error, call.error_bytes, "is bound to %d threads a block, got %lld",
                 most_threads, threads);
        return 2;
    }
    if (!fits(kernel, call)) return 2;
    return run_grid(call, [](void** arguments) {
        call_with<kernel>(kernel, places_of(kernel), arguments);
    });
}

inline int bound(int threads = 1024, ...) { return threads; }

}  // namespace emulated

// --- functions of a block and a warp -------------------------------------------------------------

inline void __syncthreads(int line = __builtin_LINE()) { emulated::wait_for_block(false, line); }
inline int __syncthreads_count(int vote, int line = __builtin_LINE()) {
    return emulated::wait_for_block(vote, line);
}
inline int __syncthreads_or(int vote, int line = __builtin_LINE()) {
    return emulated::wait_for_block(vote, line) > 0;
}
inline int __syncthreads_and(int vote, int line = __builtin_LINE()) {
    return emulated::wait_for_block(!vote, line) == 0;
}

inline void __syncwarp(unsigned mask = 0xffffffff, int line = __builtin_LINE()) {
    emulated::wait_for_warp(mask, 0, line);
}

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, int line = __builtin_LINE()) {
    auto slots = emulated::wait_for_warp(mask, value, line);
    return emulated::shown<T>(slots, emulated::lane() / width * width + source % width);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, int line = __builtin_LINE()) {
    auto slots = emulated::wait_for_warp(mask, value, line);
    int lane = emulated::lane(), source = lane ^ bits;
    return emulated::shown<T>(slots, source / width > lane / width ? lane : source);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, int by, int width = 32, int line = __builtin_LINE()) {
    auto slots = emulated::wait_for_warp(mask, value, line);
    int lane = emulated::lane();
    return emulated::shown<T>(slots, lane % width + by < width ? lane + by : lane);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, int by, int width = 32, int line = __builtin_LINE()) {
    auto slots = emulated::wait_for_warp(mask, value, line);
    int lane = emulated::lane();
    return emulated::shown<T>(slots, lane % width >= by ? lane - by : lane);
}
inline unsigned __ballot_sync(unsigned mask, int vote, int line = __builtin_LINE()) {
    auto slots = emulated::wait_for_warp(mask, int(vote != 0), line);
    int lanes = emulated::machine->warps[emulated::machine->current->number / 32].lanes;
    unsigned votes = 0;
    for (int lane = 0; lane < lanes; lane++)
        votes |= emulated::shown<unsigned>(slots, lane) << lane;
    return votes & mask;
}
inline int __any_sync(unsigned mask, int vote, int line = __builtin_LINE()) {
    return __ballot_sync(mask, vote, line) != 0;
}
inline int __all_sync(unsigned mask, int vote, int line = __builtin_LINE()) {
    return __ballot_sync(mask, !vote, line) == 0;
}

inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __trap() {
    emulated::say("%s ran into __trap", emulated::name_of(*emulated::machine->current));
    emulated::stop();
}

// --- atomics: nothing runs at the same time ------------------------------------------------------

template <typename T>
struct Same {
    using type = T;
};
#define ATOMIC(name, result)                                    \
    template <typename T>                                       \
    T name(T* address, typename Same<T>::type value) {          \
        T before = *address;                                    \
        *address = result;                                      \
        return before;                                          \
    }
ATOMIC(atomicAdd, before + value)
ATOMIC(atomicSub, before - value)
ATOMIC(atomicMax, before > value ? before : value)
ATOMIC(atomicMin, before < value ? before : value)
ATOMIC(atomicAnd, before & value)
ATOMIC(atomicOr, before | value)
ATOMIC(atomicXor, before ^ value)
ATOMIC(atomicExch, value)
ATOMIC(atomicInc, before >= value ? 0 : before + 1)
#undef ATOMIC
template <typename T>
T atomicCAS(T* address, typename Same<T>::type expected, typename Same<T>::type value) {
    T before = *address;
    if (before == expected) *address = value;
    return before;
}

// --- functions of a thread -----------------------------------------------------------------------

template <typename T>
T __ldg(const T* address) {
    return *address;
}

template <typename To, typename From>
To same_bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof(to));
    return to;
}
inline unsigned __float_as_uint(float x) { return same_bits<unsigned>(x); }
inline int __float_as_int(float x) { return same_bits<int>(x); }
inline float __uint_as_float(unsigned x) { return same_bits<float>(x); }
inline float __int_as_float(int x) { return same_bits<float>(x); }
inline long long __double_as_longlong(double x) { return same_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return same_bits<double>(x); }

inline unsigned __umulhi(unsigned a, unsigned b) { return (1ull * a * b) >> 32; }
inline int __mulhi(int a, int b) { return (1ll * a * b) >> 32; }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (static_cast<unsigned __int128>(a) * b) >> 64;
}
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline unsigned __brev(unsigned x) {
    unsigned y = 0;
    for (int i = 0; i < 32; i++) y |= (x >> i & 1) << (31 - i);
    return y;
}

inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1) : 0; }
inline float rsqrtf(float x) { return float(1 / sqrt(double(x))); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
inline float rcbrtf(float x) { return float(1 / cbrt(double(x))); }
inline void sincospif(float x, float* s, float* c) {
    *s = float(sin(M_PI * x));
    *c = float(cos(M_PI * x));
}
inline float cospif(float x) { return float(cos(M_PI * x)); }
inline float sinpif(float x) { return float(sin(M_PI * x)); }
inline float erfcxf(float x) { return float(exp(double(x) * x) * erfc(double(x))); }
inline float normcdff(float x) { return float(0.5 * erfc(-x * M_SQRT1_2)); }

#define MIN_MAX(type)                                           \
    inline type min(type a, type b) { return b < a ? b : a; }   \
    inline type max(type a, type b) { return a < b ? b : a; }
MIN_MAX(int)
MIN_MAX(unsigned)
MIN_MAX(long)
MIN_MAX(unsigned long)
MIN_MAX(long long)
MIN_MAX(unsigned long long)
#undef MIN_MAX
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

// --- what ptx.cuh has on a card ------------------------------------------------------------------

inline unsigned to_tf32(float x) {
    return x != x ? 0x7fffffff : (__float_as_uint(x) + 0x1000) & 0xffffe000;
}

namespace emulated {

struct Fragments {
    unsigned a[4], b[2];
};

// d[i][j] += sum over k of a[i][k] b[k][j], where lane `row * 4 + k % 4` holds row `row` of a, and
// lane `column * 4 + k % 4` column `column` of b; `product(a, b)` adds up what two registers hold.
template <typename Product>
void multiply(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], int line,
              Product product) {
    Fragments mine;
    memcpy(mine.a, a, sizeof(a));
    memcpy(mine.b, b, sizeof(b));
    const Slot* slots = wait_for_warp(0xffffffff, mine, line);
    const int g = lane() / 4, q = lane() % 4;
    for (int i = 0; i < 2; i++)      // row g + 8 i
        for (int j = 0; j < 2; j++) {  // column 2 q + j
            double sum = 0;
            for (int k = 0; k < 4; k++) {
                const unsigned* left = slots[g * 4 + k].words;
                const unsigned* right = slots[(2 * q + j) * 4 + k].words + 4;
                sum += product(left[i], right[0]) + product(left[i + 2], right[1]);
            }
            d[2 * i + j] = float(d[2 * i + j] + sum);
        }
}

}  // namespace emulated

inline void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                     int line = __builtin_LINE()) {
    emulated::multiply(d, a, b, line, [](unsigned x, unsigned y) {
        return double(__uint_as_float(x & 0xffffe000)) * __uint_as_float(y & 0xffffe000);
    });
}

inline void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                     int line = __builtin_LINE()) {
    emulated::multiply(d, a, b, line, [](unsigned x, unsigned y) {
        return double(__uint_as_float(x << 16)) * __uint_as_float(y << 16) +
               double(__uint_as_float(x & 0xffff0000)) * __uint_as_float(y & 0xffff0000);
    });
}

namespace emulated {

inline void perform(const Copy& copy) {
    if (copy.inside)
        memcpy(copy.to, copy.from, copy.bytes);
    else
        memset(copy.to, 0, copy.bytes);
}

inline void copy_async(void* to, const void* from, bool inside, int bytes, int line) {
    Thread& me = *machine->current;
    if (size_t(to) % bytes || (inside && size_t(from) % bytes)) {
        say("%s copies from %p to %p in line %d; both must be multiples of %d", name_of(me), from,
            to, line, bytes);
        stop();
    }
    Copy copy = {to, from, bytes, inside, me.groups};
    if (!machine->call->deferred) return perform(copy);
    memset(to, 0xFF, bytes);
    me.copies.push_back(copy);
}

}  // namespace emulated

inline void copy_async_16(void* shared, const void* global, bool inside,
                          int line = __builtin_LINE()) {
    emulated::copy_async(shared, global, inside, 16, line);
}
inline void copy_async_4(void* shared, const void* global, bool inside,
                         int line = __builtin_LINE()) {
    emulated::copy_async(shared, global, inside, 4, line);
}
inline void copy_async_commit() { emulated::machine->current->groups++; }

template <int newest>
void copy_async_wait() {
    emulated::Thread& me = *emulated::machine->current;
    auto& copies = me.copies;
    auto on_their_way = [&](const emulated::Copy& copy) { return copy.group >= me.groups - newest; };
    auto end = std::find_if(copies.begin(), copies.end(), on_their_way);
    for (auto copy = copies.begin(); copy != end; ++copy) emulated::perform(*copy);
    copies.erase(copies.begin(), end);
}
