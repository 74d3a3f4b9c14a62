"""A model behind a page and a JSON endpoint: `python -m sercl_jax.serve --workdir=RUN`.

    __main__   the command line
    app        paths, answers, errors
    guard      who may ask, and what the browser may do with the page
    uploads    the body of a request -> the bytes of a file, within limits
    decoding   the bytes of a file -> a waveform, within limits
    engine     the thread that owns the model: requests that wait go through it together
    schemas    what comes in and goes out, for the OpenAPI description
    page/      what the browser gets
"""
