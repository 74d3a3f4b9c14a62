"""Using what was trained: recordings in, emotions, ratings or embeddings out.

    loading    a finished workdir or an exported bundle -> Model
    model      Model: recordings of any length -> Prediction, embeddings
    card       what a model is, as JSON
    inputs     waveforms -> arrays, on the host
    pipeline   arrays -> results, in one compiled program per length
    packing    Pipeline -> bundle: stored programs (programs), weights, model card (model_card, licences)
    bundle     an exported bundle -> Pipeline, without the training code
"""
