"""What `python -m sercl_jax.predict` is made of, a thin shell of the Python interface:

>>> import sercl_jax
>>> model = sercl_jax.load("runs/mine")  # a finished workdir, or a bundle
>>> model.card.method, model.labels
('serugcl', ('angry', 'neutral', 'sad'))

A path in, a prediction out; a list in, a list out:

>>> prediction = model.predict("recordings/hello.wav")
>>> prediction.label == max(prediction.values, key=prediction.values.get)
True
>>> print(f"{sum(prediction.values.values()):.3f} over {prediction.seconds} s")
1.000 over 0.4 s
>>> [one.source for one in model.predict(["recordings/hello.wav", "recordings/long.flac"])]
['recordings/hello.wav', 'recordings/long.flac']

Arrays too, [samples] or [samples, channels], int16, int32 or floats in [-1, 1], with their sampling rate:

>>> import soundfile
>>> samples, rate = soundfile.read("recordings/long.flac")
>>> samples.shape, rate
((264600, 2), 44100)
>>> model.predict(samples, rate).values == model.predict("recordings/long.flac").values
True

Long recordings are predicted in windows, which overlap:

>>> long = model.predict("recordings/long.flac", window=3, overlap=0.5)
>>> [(window.start, window.end) for window in long.windows]
[(0.0, 3.0), (1.5, 4.5), (3.0, 6.0)]

Embeddings, [D] of a recording:

>>> x = model.embed(["recordings/hello.wav", "recordings/long.flac"])
>>> len(x), x[0].shape == x[1].shape == (model.card.embedding,), x[0].dtype
(2, True, dtype('float32'))

What cannot be used is a `UserError` that says why; a program that must go on takes recordings one by one:

>>> from sercl_jax.errors import UserError
>>> try:
...     model.predict("recordings/absent.wav")
... except UserError as error:
...     print(error)
recordings/absent.wav: cannot be read (No such file or directory); mend or remove it...
>>> from pathlib import Path
>>> from sercl_jax.predicting.streaming import predictions
>>> for name, outcome in predictions(model, [Path("recordings/hello.wav"), Path("recordings/absent.wav")]):
...     print(name, "failed" if isinstance(outcome, UserError) else "is fine")
recordings/hello.wav is fine
recordings/absent.wav failed
"""
