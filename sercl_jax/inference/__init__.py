"""Using what was trained: recordings in, emotions, ratings or embeddings out.

    loading    a finished workdir or an exported bundle -> Model
    model      Model: recordings of any length -> Prediction, embeddings
    card       what a model is, as JSON
    inputs     waveforms -> arrays, on the host
    pipeline   arrays -> results, in one compiled program per length
"""
