"""What a run will do and take, without doing it: its corpora, as far as they can be seen, trainings and their costs.

    preview    corpora listed, not built, and stand-ins for features
    trainings  every training of a run, as the very stages that it would run
    costs      parameters, memory and arithmetic of a stage's step, from shapes alone
"""
