# The programs of the GPU tests. Whoever sources this has made `program NAME MODEL OPTION...`: compile.sh compiles
# each, hash.sh hashes what is emitted for it.
dit() {
  name=$1; shift
  program "$name" dit.mvs "$@"
}
for rule in mvsplit layerscale plain; do
  for bf16 in false true; do
    [ $bf16 = true ] && kind=bf16 || kind=f32
    dit "golden-$rule-$kind" --set depth=3 --set width=64 --set heads=2 --set kv_heads=2 --set ffn=160 \
      --set channels=8 --set patch=1 --set latent_h=4 --set latent_w=6 --set text_tokens=5 \
      --set context_width=48 --set bf16=$bf16 --residual $rule
  done
done
for bf16 in false true; do
  [ $bf16 = true ] && kind=bf16 || kind=f32
  dit "odd-$kind" --set depth=3 --set width=60 --set heads=3 --set kv_heads=1 --set ffn=52 --set channels=3 \
    --set latent_h=5 --set latent_w=3 --set text_tokens=1 --set context_width=7 --set bias=true --set bf16=$bf16
done
# The paper's block: sizes that the libraries take; then 77 tokens and heads of 64 features.
dit "block-bf16" --set depth=4 --set bf16=true
dit "tokens77-bf16" --set depth=2 --set width=128 --set heads=2 --set kv_heads=2 --set ffn=256 --set channels=8 \
  --set latent_h=7 --set latent_w=9 --set text_tokens=14 --set context_width=64 --set bf16=true
program digits digits.mvs
for kind in f32 bf16; do program "rows-$kind" ../tests/gpu/rows.mvs --set "storage=\"$kind\""; done
# Figures: one block is the slope between two depths; what MV-Split costs beside plain residuals, and with its means
# through the writer; the whole model.
for depth in 2 6; do
  for rule in mvsplit plain; do dit "bench-$rule-$depth" --set depth=$depth --set bf16=true --residual $rule; done
  dit "bench-writer-$depth" --set depth=$depth --set bf16=true --means writer
done
program dit400 dit400.mvs
