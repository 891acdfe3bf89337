// The operations of ops.hpp for speed, in plain loops over sixteen lanes. Compiled once for each level.
//
// LLAMA512_LEVEL is the level's name, LLAMA512_LEVEL_SYMBOL that of what this file exports.

#include "fast/level.hpp"

#include <bit>
#include <cmath>

#include "fast/lanes.hpp"

namespace llama512::fast {

using std::size_t;

namespace {

// --- Matrix product --------------------------------------------------------------------------------------------------

/// How far ahead the memory is asked for what comes next: values of a row.
constexpr size_t kPrefetch = 256;

/// kRows rows of w times kColumns rows of x: each partial sum stays in a register from the first column to the last,
/// each number that is loaded is used several times.
template <size_t kRows, size_t kColumns>
LLAMA512_INLINE void tile(float* out, size_t out_row, const float* x, const float* w, size_t n) {
    Lanes sums[kRows * kColumns] = {};
    size_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
        Lanes xs[kColumns];
        for (size_t column = 0; column < kColumns; column++) xs[column] = load(x + column * n + i);
        // Further along these rows, or where they end, along those of the next tile.
        const float* const ahead = (i + kPrefetch < n ? w : w + (kRows - 1) * n) + i + kPrefetch;
        for (size_t row = 0; row < kRows; row++) {
            __builtin_prefetch(ahead + row * n);
            const Lanes values = load(w + row * n + i);
            for (size_t column = 0; column < kColumns; column++) {
                Lanes& sum = sums[column * kRows + row];
                sum = sum + values * xs[column];
            }
        }
    }
    float totals[kRows * kColumns];
    sum(sums, totals);
    for (size_t column = 0; column < kColumns; column++) {
        for (size_t row = 0; row < kRows; row++) {
            float total = totals[column * kRows + row];
            for (size_t rest = i; rest < n; rest++) total += w[row * n + rest] * x[column * n + rest];
            out[column * out_row + row] = total;
        }
    }
}

/// As many partial sums as the registers hold.
#if defined(__AVX512BW__)
constexpr size_t kSums = 16;  // of 32 registers
#elif defined(__AVX2__) || defined(__aarch64__)
constexpr size_t kSums = 4;  // 8 of 16 registers; 16 of 32
#else
constexpr size_t kSums = 2;  // 8 of 16 registers
#endif

/// kRows rows of w times all rows of x, four, two or one at a time.
template <size_t kRows>
LLAMA512_INLINE void stripe(float* out, size_t out_row, const float* x, size_t rows, const float* w, size_t n) {
    size_t row = 0;
    if constexpr (4 * kRows <= kSums) {
        for (; row + 4 <= rows; row += 4) tile<kRows, 4>(out + row * out_row, out_row, x + row * n, w, n);
    }
    if constexpr (2 * kRows <= kSums) {
        for (; row + 2 <= rows; row += 2) tile<kRows, 2>(out + row * out_row, out_row, x + row * n, w, n);
    }
    for (; row < rows; row++) tile<kRows, 1>(out + row * out_row, out_row, x + row * n, w, n);
}

void matmul(float* out, size_t out_row, const float* x, size_t rows, const float* w, size_t n, size_t first, size_t last) {
    constexpr size_t kTall = kSums > 8 ? 8 : kSums;         // rows of w for one row of x
    constexpr size_t kWide = kSums > 4 ? kSums / 4 : 1;     // for several
    size_t i = first;
    if (rows == 1) {
        for (; i + kTall <= last; i += kTall) tile<kTall, 1>(out + i, out_row, x, w + i * n, n);
    } else {
        for (; i + kWide <= last; i += kWide) stripe<kWide>(out + i, out_row, x, rows, w + i * n, n);
    }
    for (; i < last; i++) stripe<1>(out + i, out_row, x, rows, w + i * n, n);
}

// --- Rounded weights: see quantized.hpp ------------------------------------------------------------------------------

float quantize(std::int8_t* integers, const float* values, size_t n, bool int4) {
    float padded[kMaxColumns] = {};
    __builtin_memcpy(padded, values, n * sizeof(float));
    Lanes maxima = all(0.0f);
    for (size_t i = 0; i < kMaxColumns; i += kLanes) maxima = max(maxima, magnitude(load(padded + i)));
    const float most = most_of(maxima);
    float scale = most / 127.0f;
    if (int4) {
        size_t first = 0;
        while (std::fabs(padded[first]) != most) first++;
        scale = padded[first] / -8.0f;
    }
    // 0 where there is nothing but 0, or what is too small for a quotient. A quotient is rounded to the next whole number, halves
    // to the even one, by adding a number whose neighbours are 1 apart: 1.5 * 2^23.
    const Lanes divisor = all(scale == 0.0f ? 1.0f : scale);
    const Lanes shift = all(12582912.0f);
    for (size_t i = 0; i < kMaxColumns; i += kLanes) {
        const Lanes whole = load(padded + i) / divisor + shift + all(-12582912.0f);
        store(padded + i, int4 ? min(whole, all(7.0f)) : whole);
    }
    for (size_t i = 0; i < kMaxColumns; i++) integers[i] = static_cast<std::int8_t>(padded[i]);
    return scale;
}

/// kBlocks blocks of 16 rows of w times kColumns rows of x. Each block is a stream of bytes of its own.
template <bool int4, size_t kBlocks, size_t kColumns>
LLAMA512_INLINE void packed_tile(float* out, size_t out_row, const PackedRows& x, const PackedMatrix& w, size_t block,
                                 size_t column) {
    const size_t pair_bytes = int4 ? kPackedRows : 2 * kPackedRows;
    const size_t scale_bytes = kPackedRows * sizeof(float);
    const size_t group_bytes = scale_bytes + w.columns / 2 * pair_bytes;
    const size_t block_bytes = w.groups * group_bytes;
    const std::byte* bytes = w.bytes + block * block_bytes;
    Lanes sums[kBlocks][kColumns] = {};
    for (size_t group = 0; group < w.groups; group++) {
        IntLanes products[kBlocks][kColumns];
        const std::int16_t* values[kColumns];
        for (size_t c = 0; c < kColumns; c++) {
            const size_t at = (column + c) * w.groups + group;
            for (size_t b = 0; b < kBlocks; b++) products[b][c] = all(int4 ? -8 * x.sums[at] : 0);
            values[c] = x.values + at * w.columns;
        }
        const std::byte* pairs = bytes + scale_bytes;
        for (size_t i = 0; i < w.columns; i += 2, pairs += pair_bytes) {
            for (size_t b = 0; b < kBlocks; b++) {
                __builtin_prefetch(pairs + b * block_bytes + kPrefetch * sizeof(float));
                const PairLanes weights = int4 ? load_int4(pairs + b * block_bytes) : load_int8(pairs + b * block_bytes);
                for (size_t c = 0; c < kColumns; c++) {
                    std::int32_t pair;
                    __builtin_memcpy(&pair, values[c] + i, sizeof pair);
                    products[b][c] = add_products(products[b][c], weights, pair);
                }
            }
        }
        for (size_t b = 0; b < kBlocks; b++) {
            const Lanes scales = load(reinterpret_cast<const float*>(bytes + b * block_bytes));
            for (size_t c = 0; c < kColumns; c++) {
                const float scale = x.scales[(column + c) * w.groups + group];
                sums[b][c] = sums[b][c] + to_float(products[b][c]) * (scales * all(scale));
            }
        }
        bytes += group_bytes;
    }
    for (size_t b = 0; b < kBlocks; b++) {
        const size_t first = (block + b) * kPackedRows;
        for (size_t c = 0; c < kColumns; c++) {
            float rows[kLanes];
            store(rows, sums[b][c]);
            float* const to = out + (column + c) * out_row + first;
            for (size_t i = 0; i < kPackedRows && first + i < w.rows; i++) to[i] = rows[i];
        }
    }
}

template <bool int4>
LLAMA512_INLINE void packed_blocks(float* out, size_t out_row, const PackedRows& x, size_t rows, const PackedMatrix& w,
                                   size_t first, size_t last) {
    size_t block = first;
    if (rows == 1) {
        for (; block + 4 <= last; block += 4) packed_tile<int4, 4, 1>(out, out_row, x, w, block, 0);
    }
    for (; block < last; block++) {
        size_t row = 0;
        for (; row + 4 <= rows; row += 4) packed_tile<int4, 1, 4>(out, out_row, x, w, block, row);
        for (; row + 2 <= rows; row += 2) packed_tile<int4, 1, 2>(out, out_row, x, w, block, row);
        for (; row < rows; row++) packed_tile<int4, 1, 1>(out, out_row, x, w, block, row);
    }
}

void matmul_packed(float* out, size_t out_row, const PackedRows& x, size_t rows, const PackedMatrix& w, size_t first,
                   size_t last) {
    if (w.int4) {
        packed_blocks<true>(out, out_row, x, rows, w, first, last);
    } else {
        packed_blocks<false>(out, out_row, x, rows, w, first, last);
    }
}

// --- Norm, rotation, activation --------------------------------------------------------------------------------------

float rmsnorm(float* out, const float* x, const float* weight, size_t n, float epsilon) {
    float square;
    tile<1, 1>(&square, 1, x, x, n);
    const float mean_square = square / static_cast<float>(n);
    const float scale = 1.0f / std::sqrt(mean_square + epsilon);
    for (size_t i = 0; i < n; i++) out[i] = weight[i] * (scale * x[i]);
    return mean_square;
}

void rope(float* x, size_t heads, const float* cos, const float* sin, size_t head_size) {
    for (size_t head = 0; head < heads; head++, x += head_size) {
        for (size_t i = 0; i < head_size / 2; i++) {
            const float x0 = x[2 * i];
            const float x1 = x[2 * i + 1];
            x[2 * i] = x0 * cos[i] - x1 * sin[i];
            x[2 * i + 1] = x0 * sin[i] + x1 * cos[i];
        }
    }
}

void swiglu(float* gate, const float* up, size_t n) {
    const Lanes one = all(1.0f);
    const auto step = [&](const Lanes& z, const Lanes& u) {
        return z * (one / (one + exp(map(z, [](Register value) { return -value; })))) * u;
    };
    size_t i = 0;
    for (; i + kLanes <= n; i += kLanes) store(gate + i, step(load(gate + i), load(up + i)));
    if (i < n) {
        float rest[2 * kLanes] = {};
        for (size_t j = i; j < n; j++) {
            rest[j - i] = gate[j];
            rest[kLanes + j - i] = up[j];
        }
        store(rest, step(load(rest), load(rest + kLanes)));
        for (size_t j = i; j < n; j++) gate[j] = rest[j - i];
    }
}

void add(float* x, const float* y, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] += y[i];
}

/// The bits of a float without its sign are ordered as magnitudes are, with infinity and then NaN above all.
float largest(const float* x, size_t n) {
    std::uint32_t most = 0;
    for (size_t i = 0; i < n; i++) {
        const std::uint32_t magnitude = std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffff;
        most = magnitude > most ? magnitude : most;
    }
    return std::bit_cast<float>(most);
}

size_t argmax(const float* x, size_t n) {
    Lanes maxima = all(-INFINITY);
    size_t i = 0;
    for (; i + kLanes <= n; i += kLanes) maxima = max(maxima, load(x + i));
    float most = most_of(maxima);
    for (; i < n; i++) most = x[i] > most ? x[i] : most;
    size_t first = 0;
    while (first + 1 < n && x[first] != most) first++;  // NaN equals nothing
    return first;
}

// --- Attention -------------------------------------------------------------------------------------------------------

/// scores[t] = q . k / sqrt(head_size) for whole blocks of positions: lane t is position t, and the sum runs over the components.
LLAMA512_INLINE void score_block(float* scores, const float* q, const float* keys, size_t head_size, float root) {
    Lanes sum = {};
    for (size_t i = 0; i < head_size; i++) sum = sum + all(q[i]) * load(keys + i * kLanes);
    store(scores, sum / all(root));
}

/// kRows components of out = the values of all positions times the scores.
template <size_t kRows>
LLAMA512_INLINE void weigh(float* out, const float* scores, const float* values, size_t kv_dim, size_t blocks, float total) {
    Lanes sums[kRows] = {};
    for (size_t block = 0; block < blocks; block++) {
        const Lanes weight = load(scores + block * kLanes);
        for (size_t i = 0; i < kRows; i++) sums[i] = sums[i] + weight * load(values + (block * kv_dim + i) * kLanes);
    }
    float totals[kRows];
    sum(sums, totals);
    for (size_t i = 0; i < kRows; i++) out[i] = totals[i] / total;
}

float attention(float* out, const float* q, size_t heads, const float* keys, const float* values, size_t kv_dim, size_t pos,
                size_t head_size, float* scores) {
    const size_t blocks = pos / kLanes + 1;
    const float root = std::sqrt(static_cast<float>(head_size));
    float largest_score = 0.0f;
    for (size_t head = 0; head < heads; head++, q += head_size, out += head_size) {
        for (size_t block = 0; block < blocks; block++) {
            score_block(scores + block * kLanes, q, keys + block * kv_dim * kLanes, head_size, root);
        }
        const float magnitude = largest(scores, pos + 1);
        largest_score = magnitude > largest_score ? magnitude : largest_score;

        // Softmax. The lanes after pos, of which nothing is known, weigh 0.
        for (size_t t = pos + 1; t < blocks * kLanes; t++) scores[t] = -INFINITY;
        Lanes maxima = load(scores);
        for (size_t block = 1; block < blocks; block++) maxima = max(maxima, load(scores + block * kLanes));
        const float most = most_of(maxima);
        Lanes sums = {};
        for (size_t block = 0; block < blocks; block++) {
            const Lanes weight = exp(load(scores + block * kLanes) + all(-most));
            store(scores + block * kLanes, weight);
            sums = sums + weight;
        }
        const float total = sum(sums);

        size_t i = 0;
        for (; i + kSums <= head_size; i += kSums) {
            weigh<kSums>(out + i, scores, values + i * kLanes, kv_dim, blocks, total);
        }
        for (; i < head_size; i++) weigh<1>(out + i, scores, values + i * kLanes, kv_dim, blocks, total);
    }
    return largest_score;
}

// --- Memory ----------------------------------------------------------------------------------------------------------

/// Eight pages at a time, each from its beginning to its end, as a product reads several rows.
float read(const float* x, size_t n) {
    constexpr size_t kStreams = 8;
    constexpr size_t kPage = 4096 / sizeof(float);
    Lanes sums[kStreams] = {};
    size_t i = 0;
    for (; i + kStreams * kPage <= n; i += kStreams * kPage) {
        for (size_t j = i; j < i + kPage; j += kLanes) {
            for (size_t stream = 0; stream < kStreams; stream++) {
                __builtin_prefetch(x + j + (kStreams + stream) * kPage);
                sums[stream] = sums[stream] + load(x + j + stream * kPage);
            }
        }
    }
    for (; i + kLanes <= n; i += kLanes) sums[i / kLanes % kStreams] = sums[i / kLanes % kStreams] + load(x + i);
    float result = 0.0f;
    for (const Lanes& lanes : sums) result += sum(lanes);
    return result;
}

}  // namespace

extern const Level LLAMA512_LEVEL_SYMBOL;
const Level LLAMA512_LEVEL_SYMBOL = {LLAMA512_LEVEL, matmul, quantize, matmul_packed, rmsnorm, rope, attention, swiglu, add, largest, argmax, read};

}  // namespace llama512::fast
