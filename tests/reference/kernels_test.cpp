// The fast kernels: every level computes the same bits, for any number of threads and rows, and nearly what ops.cpp does.

#include "kernels.hpp"

#include <cmath>
#include <gtest/gtest.h>
#include <memory>
#include <vector>

#include "fast/fast.hpp"
#include "fast/quantized.hpp"
#include "threads.hpp"
#include "tiny_model.hpp"
#include "transformer.hpp"

namespace llama512::test {
namespace {

using Vector = std::vector<float>;

/// All levels with one thread, and the widest with five.
std::vector<std::unique_ptr<Kernels>> all_fast() {
    std::vector<std::unique_ptr<Kernels>> result;
    for (const std::string& level : fast_levels()) result.push_back(fast_kernels(1, level));
    result.push_back(fast_kernels(5));
    return result;
}

/// `compute` with each of the fast kernels: the same bits; and near to what plain kernels make of it.
template <typename Compute>
void compare(Compute compute, float tolerance) {
    const Vector plain = compute(plain_kernels());
    const auto kernels = all_fast();
    const Vector first = compute(*kernels[0]);
    ASSERT_EQ(first.size(), plain.size());
    for (std::size_t i = 0; i < plain.size(); i++) {
        ASSERT_NEAR(first[i], plain[i], tolerance * std::max(1.0f, std::abs(plain[i]))) << i;
    }
    for (const auto& other : kernels) ASSERT_EQ(compute(*other), first) << other->name();
}

TEST(Kernels, Names) {
    EXPECT_EQ(plain_kernels().name(), "plain");
    EXPECT_EQ(fast_levels()[0], "baseline");
    EXPECT_EQ(fast_kernels(1)->name(), "fast-" + fast_levels().back());
    EXPECT_THROW(fast_kernels(1, "sse9"), std::out_of_range);
}

TEST(Kernels, MatmulOfEveryShape) {
    for (const std::size_t n : {1u, 2u, 15u, 16u, 17u, 64u, 90u}) {
        for (const std::size_t d : {1u, 3u, 16u, 23u, 40u}) {
            const Vector w = random_values(d * n, 1);
            for (const std::size_t rows : {1u, 2u, 3u, 4u, 5u, 9u}) {
                const Vector x = random_values(rows * n, 2);
                SCOPED_TRACE(testing::Message() << d << " x " << n << ", " << rows << " rows");
                const auto product = [&](const Kernels& ops) {
                    Vector out(rows * d, NAN);
                    ops.matmul(out, x, w, rows);
                    return out;
                };
                compare(product, 1e-5f);
                // Each row as if it were alone.
                const auto fast = fast_kernels(1);
                const Vector together = product(*fast);
                for (std::size_t row = 0; row < rows; row++) {
                    Vector alone(d);
                    fast->matmul(alone, slice(std::span(x), row, n), w, 1);
                    ASSERT_EQ(alone, Vector(together.begin() + long(row * d), together.begin() + long((row + 1) * d)));
                }
            }
        }
    }
}

TEST(Kernels, EqualRowsHaveEqualProducts) {
    // A tie stays a tie, wherever its rows are: argmax takes the lower one.
    const Vector row = random_values(37, 1);
    Vector w;
    for (int i = 0; i < 50; i++) w.insert(w.end(), row.begin(), row.end());
    for (const auto& ops : all_fast()) {
        Vector out(50);
        ops->matmul(out, random_values(37, 2), w, 1);
        EXPECT_EQ(out, Vector(50, out[0])) << ops->name();
    }
}

TEST(Kernels, ALargeProductInThreads) {
    const std::size_t n = 512, d = 1001;
    const Vector w = random_values(d * n, 1);
    const Vector x = random_values(3 * n, 2);
    compare([&](const Kernels& ops) {
        Vector out(3 * d);
        ops.matmul(out, x, w, 3);
        return out;
    }, 1e-4f);
}

TEST(Kernels, Rmsnorm) {
    for (const std::size_t n : {1u, 8u, 33u, 128u}) {
        const Vector x = random_values(n, 1);
        compare([&](const Kernels& ops) {
            Vector out(n + 1);
            out[n] = ops.rmsnorm(std::span(out).first(n), x, random_values(n, 2), 1e-5f);
            return out;
        }, 1e-5f);
    }
}

TEST(Kernels, Rope) {
    for (const std::size_t head_size : {2u, 8u, 24u, 64u}) {
        Vector cos(head_size / 2);
        Vector sin(head_size / 2);
        rope_factors(cos, sin, 7, 10000.0f);
        compare([&](const Kernels& ops) {
            Vector x = random_values(3 * head_size, 1);
            ops.rope(x, cos, sin);
            return x;
        }, 0.0f);  // the same operations
    }
}

TEST(Kernels, Swiglu) {
    for (const std::size_t n : {1u, 16u, 35u}) {
        for (const float scale : {1.0f, 50.0f, 1e4f}) {  // exp overflows float32 above 88
            compare([&](const Kernels& ops) {
                Vector gate = random_values(n, 1, scale);
                ops.swiglu(gate, random_values(n, 2));
                return gate;
            }, 1e-6f);
        }
    }
}

TEST(Kernels, Add) {
    compare([&](const Kernels& ops) {
        Vector x = random_values(35, 1);
        ops.add(x, random_values(35, 2));
        return x;
    }, 0.0f);
}

TEST(Kernels, Largest) {
    Vector x = random_values(35, 1);
    compare([&](const Kernels& ops) { return Vector{ops.largest(x)}; }, 0.0f);
    x[34] = -INFINITY;
    compare([&](const Kernels& ops) { return Vector{float(std::isinf(ops.largest(x)))}; }, 0.0f);
    x[3] = NAN;
    compare([&](const Kernels& ops) { return Vector{float(std::isnan(ops.largest(x)))}; }, 0.0f);
}

TEST(Kernels, ArgmaxTakesTheLowestIndexOnTies) {
    for (const std::size_t n : {1u, 3u, 16u, 33u, 100u}) {
        for (std::size_t most = 0; most < n; most++) {
            Vector x(n, -2.0f);
            x[most] = x[n - 1] = -1.0f;
            for (const auto& ops : all_fast()) EXPECT_EQ(ops->argmax(x), static_cast<int>(most)) << n << ops->name();
            EXPECT_EQ(plain_kernels().argmax(x), static_cast<int>(most)) << n;
        }
    }
    const Vector zeros = {-1.0f, -0.0f, 0.0f};
    for (const auto& ops : all_fast()) EXPECT_EQ(ops->argmax(zeros), 1) << ops->name();
}

TEST(Kernels, ArgmaxOfNanIsAnIndex) {
    // A draft's logits are not checked: a guess may be anything, but a token.
    for (const std::size_t n : {1u, 16u, 33u}) {
        for (const Vector& x : {Vector(n, NAN), Vector(n, -INFINITY)}) {
            for (const auto& ops : all_fast()) EXPECT_LT(ops->argmax(x), static_cast<int>(n)) << ops->name();
        }
    }
}

/// Attention of positions 0 to n - 1, one after the other, and of the largest scores.
Vector attend(const Kernels& ops, std::size_t head_size, std::size_t n_heads, std::size_t n_kv_heads, std::size_t n,
              float scale) {
    const std::size_t room = (n + kPositionBlock - 1) / kPositionBlock * kPositionBlock * n_kv_heads * head_size;
    Vector keys(room, NAN);  // nobody knows what is in new memory
    Vector values(room, NAN);
    Vector result;
    for (std::size_t pos = 0; pos < n; pos++) {
        Vector out(n_heads * head_size, NAN);
        const std::uint32_t seed = 1 + 10 * static_cast<std::uint32_t>(pos);
        const float largest = ops.attention(out, random_values(n_heads * head_size, seed, scale),
                                            random_values(n_kv_heads * head_size, seed + 1, scale),
                                            random_values(n_kv_heads * head_size, seed + 2), {keys, values}, pos, head_size);
        result.insert(result.end(), out.begin(), out.end());
        result.push_back(largest);
    }
    return result;
}

TEST(Kernels, AttentionOfEveryShape) {
    for (const std::size_t head_size : {2u, 8u, 18u, 48u}) {
        for (const auto& [n_heads, n_kv_heads] : {std::pair{1u, 1u}, {4u, 2u}, {6u, 1u}, {3u, 3u}}) {
            compare([&](const Kernels& ops) { return attend(ops, head_size, n_heads, n_kv_heads, 35, 1.0f); }, 1e-5f);
        }
    }
}

TEST(Kernels, AttentionWithScoresThatExpWouldNotHold) {
    compare([&](const Kernels& ops) { return attend(ops, 8, 2, 1, 20, 100.0f); }, 1e-4f);
}

TEST(Kernels, ThreadsShareAllWork) {
    for (const std::size_t threads : {1u, 2u, 3u, 7u}) {
        for (const std::size_t n : {0u, 1u, 2u, 5u, 100u}) {
            std::vector<int> done(n);
            parallel(threads, n, [&](std::size_t first, std::size_t last) {
                for (std::size_t i = first; i < last; i++) done[i]++;
            });
            EXPECT_EQ(done, std::vector<int>(n, 1)) << threads << " threads";
        }
    }
    EXPECT_GE(physical_cores(), 1u);
}

// --- Rounded weights -------------------------------------------------------------------------------------------------

/// Whole numbers from -127 to 127, the largest in every group of 32 columns being 127: int8 holds them exactly.
Vector whole_numbers(std::size_t n, std::uint32_t seed, float most) {
    Vector values = random_values(n, seed, most);
    for (float& value : values) value = std::round(value);
    for (std::size_t i = 0; i < n; i += 32) values[i] = i % 64 == 0 ? most : -most;
    return values;
}

/// All matrices of a model of one layer, of which wq is `w`.
struct OneMatrix {
    OneMatrix(Vector w, std::size_t dim) : model({.dim = dim, .hidden_dim = 3, .n_layers = 1, .n_heads = 1, .n_kv_heads = 1,
                                                 .vocab_size = 5, .seq_len = 4}, true) {
        model.wq = std::move(w);
    }
    TinyModel model;
};

TEST(Kernels, QuantizedProductsOfWholeNumbersAreExact) {
    for (const std::size_t dim : {4u, 32u, 34u, 64u, 128u, 144u}) {
        // Rows begin a group of columns each: make every row's groups begin with the largest magnitude.
        Vector w;
        for (std::size_t row = 0; row < dim; row++) {
            const Vector values = whole_numbers(dim, 1 + static_cast<std::uint32_t>(row), 127);
            w.insert(w.end(), values.begin(), values.end());
        }
        const OneMatrix one(w, dim);
        const Weights weights = one.model.weights();
        for (const std::size_t rows : {1u, 2u, 3u, 7u}) {
            Vector x;
            for (std::size_t row = 0; row < rows; row++) {
                const Vector values = whole_numbers(dim, 100 + static_cast<std::uint32_t>(row), 127);
                x.insert(x.end(), values.begin(), values.end());
            }
            Vector expected(rows * dim);
            plain_kernels().matmul(expected, x, w, rows);  // exact, too: all sums are below 2^24
            for (const std::string& level : fast_levels()) {
                for (const std::size_t threads : {1u, 3u}) {
                    const auto ops = quantized_kernels(Quantization::int8, one.model.config, weights, threads, level);
                    Vector out(rows * dim, NAN);
                    ops->matmul(out, x, weights.wq, rows);
                    ASSERT_EQ(out, expected) << dim << " " << rows << " " << ops->name();
                }
            }
        }
    }
}

TEST(Kernels, QuantizedProductsAreNear) {
    for (const auto& [quantization, tolerance] : {std::pair{Quantization::int8, 0.02f}, {Quantization::int4, 0.2f}}) {
        for (const std::size_t dim : {2u, 30u, 32u, 66u, 192u}) {
            const OneMatrix one(random_values(dim * dim, 1), dim);
            const Weights weights = one.model.weights();
            const Vector x = random_values(5 * dim, 2);
            Vector expected(5 * dim);
            plain_kernels().matmul(expected, x, weights.wq, 5);
            Vector first;
            for (const std::string& level : fast_levels()) {
                const auto ops = quantized_kernels(quantization, one.model.config, weights, 2, level);
                Vector out(5 * dim, NAN);
                ops->matmul(out, x, weights.wq, 5);
                for (std::size_t i = 0; i < out.size(); i++) {
                    ASSERT_NEAR(out[i], expected[i], tolerance * std::sqrt(static_cast<float>(dim)))
                        << dim << " " << ops->name();
                }
                if (first.empty()) first = out;
                ASSERT_EQ(out, first) << dim << " " << ops->name();
            }
        }
    }
}

TEST(Kernels, QuantizedZerosAndTinyValues) {
    for (const auto quantization : {Quantization::int8, Quantization::int4}) {
        for (const float value : {0.0f, 1e-44f, 1e-38f}) {
            const OneMatrix one(Vector(64 * 64, value), 64);
            const auto ops = quantized_kernels(quantization, one.model.config, one.model.weights(), 1);
            Vector out(64, NAN);
            ops->matmul(out, Vector(64, value), one.model.weights().wq, 1);
            for (const float found : out) EXPECT_NEAR(found, 0.0f, 1e-30f);
        }
    }
}

TEST(Kernels, QuantizedNeedAMatrixOfTheModel) {
    const TinyModel model(kTinyConfig, true);
    const auto ops = quantized_kernels(Quantization::int8, model.config, model.weights(), 1);
    Vector out(4);
    EXPECT_THROW(ops->matmul(out, Vector(4), Vector(16), 1), std::out_of_range);
    EXPECT_EQ(ops->name(), "fast-" + fast_levels().back() + "-int8");
    // A block of 16 rows, a group of 32 columns for the 16 of the shape: 16 scales, and 16 x 32 bytes; two layers.
    EXPECT_EQ(ops->stored(model.weights().wq).size(), 2u * (64 + 16 * 32));
    EXPECT_EQ(plain_kernels().stored(model.weights().wq).size(), 2u * 16 * 16 * 4);
}

// --- The Transformer with any kernels --------------------------------------------------------------------------------

constexpr Config kConfig = {
    .dim = 24, .hidden_dim = 20, .n_layers = 2, .n_heads = 6, .n_kv_heads = 2, .vocab_size = 40, .seq_len = 40};

/// The logits of all positions of one sequence, token by token.
Vector one_by_one(const TinyModel& model, const Kernels& ops, const std::vector<int>& tokens) {
    Transformer transformer(model.config, model.weights(), {.kernels = &ops});
    Vector result;
    for (std::size_t pos = 0; pos < tokens.size(); pos++) {
        const auto logits = transformer.forward(tokens[pos], pos);
        result.insert(result.end(), logits.begin(), logits.end());
    }
    return result;
}

std::vector<int> tokens_of(std::size_t n, int step) {
    std::vector<int> tokens;
    for (std::size_t i = 0; i < n; i++) tokens.push_back(static_cast<int>((i * static_cast<std::size_t>(step) + 1) % 40));
    return tokens;
}

TEST(Kernels, ForwardIsNearThePlainOne) {
    const TinyModel model(kConfig, false);
    compare([&](const Kernels& ops) { return one_by_one(model, ops, tokens_of(40, 7)); }, 1e-4f);
}

TEST(Kernels, ABatchIsWhatItsRowsAreAlone) {
    const TinyModel model(kConfig, false);
    const auto fast = fast_kernels(2);
    const auto int4 = quantized_kernels(Quantization::int4, kConfig, model.weights(), 1);
    for (const Kernels* ops : {&plain_kernels(), static_cast<const Kernels*>(fast.get()), static_cast<const Kernels*>(int4.get())}) {
        const std::vector<int> a = tokens_of(33, 7);
        const std::vector<int> b = tokens_of(33, 11);
        const Vector alone_a = one_by_one(model, *ops, a);
        const Vector alone_b = one_by_one(model, *ops, b);
        Transformer transformer(kConfig, model.weights(), {.kernels = ops, .n_sequences = 3, .max_rows = 66});
        // Both sequences in one pass; of sequence 2 every logit, of sequence 0 the last one.
        std::vector<Input> batch;
        for (std::size_t pos = 0; pos < a.size(); pos++) {
            batch.push_back({a[pos], pos, 0, pos + 1 == a.size()});
            batch.push_back({b[pos], pos, 2});
        }
        const auto logits = transformer.forward(batch);
        const std::size_t n = kConfig.vocab_size;
        ASSERT_EQ(logits.size(), 34 * n);
        const auto part = [n](std::span<const float> values, std::size_t from) {
            return Vector(values.begin() + long(from * n), values.begin() + long((from + 1) * n));
        };
        for (std::size_t pos = 0; pos < 32; pos++) EXPECT_EQ(part(logits, pos), part(alone_b, pos)) << pos;
        EXPECT_EQ(part(logits, 32), part(alone_a, 32));
        EXPECT_EQ(part(logits, 33), part(alone_b, 32));
    }
}

TEST(Kernels, GoingBackForgets) {
    const TinyModel model(kConfig, true);
    const auto fast = fast_kernels(1);
    const std::vector<int> tokens = tokens_of(40, 7);
    const Vector expected = one_by_one(model, *fast, tokens);
    Transformer transformer(kConfig, model.weights(), {.kernels = fast.get()});
    for (std::size_t pos = 0; pos < 40; pos++) transformer.forward(3, pos);
    Vector again;
    for (std::size_t pos = 0; pos < 40; pos++) {
        const auto logits = transformer.forward(tokens[pos], pos);
        again.insert(again.end(), logits.begin(), logits.end());
    }
    EXPECT_EQ(again, expected);
}

TEST(Kernels, RefuseRowsAndSequencesOutOfRange) {
    const TinyModel model(kConfig, true);
    Transformer transformer(kConfig, model.weights(), {.n_sequences = 2, .max_rows = 2});
    EXPECT_THROW(transformer.forward(std::vector<Input>{}), std::out_of_range);
    EXPECT_THROW(transformer.forward(std::vector<Input>{{1, 0}, {1, 1}, {1, 2}}), std::out_of_range);
    EXPECT_THROW(transformer.forward(std::vector<Input>{{1, 0, 2}}), std::out_of_range);
}

TEST(Kernels, ReadBandwidthIsThatOfTheBytes) {
    const Vector memory = random_values(100'000, 1);
    const std::span<const std::byte> bytes = std::as_bytes(std::span(memory));
    EXPECT_GT(read_bandwidth({bytes, bytes}, 2), 1e6);
    EXPECT_EQ(read_bandwidth({}, 1), 0.0);
}

}  // namespace
}  // namespace llama512::test
