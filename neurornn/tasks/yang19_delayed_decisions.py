"""Delayed decisions on rings: point at the stronger of two stimuli that are shown one after the other.

Five of the 20 tasks of Yang et al. 2019; see `yang19`, and `yang19_decisions` for what they do.
"""

from __future__ import annotations

from dataclasses import dataclass

from neurornn.tasks.distributions import Choice, Distribution, Duration, Uniform
from neurornn.tasks.yang19_decisions import DecisionTask
from neurornn.tasks.yang19_go import NOISE


@dataclass(frozen=True)
class Yang19DelayDM1(DecisionTask):
    """Point at the stronger of two stimuli in modality 1, shown one after the other.

    Story
        Two spots appear in different directions, one after the other, seen by modality 1. The first is
        remembered through a delay and compared with the second. When the fixation cue goes off, gaze goes to
        the stronger one.

    Inputs
        ============ ===============================================================
        channel      meaning
        ============ ===============================================================
        ``fixation`` 1 until the response, then 0
        ``ring_1_k`` bumps at both stimuli, each in its epoch, times their strengths
        ``ring_2_k`` noise only
        ============ ===============================================================

        The directions are at least pi / 2 apart. One strength is ``mean_strength`` + ``coherence``, the other
        ``mean_strength`` - ``coherence``. A bump is .8 exp(-d^2 / 2 (pi / 8)^2) in the unit whose direction,
        2 pi k / 32, is the angle d away. Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on
        every channel at every step.

    Targets
        ``fixation`` is .8 until the response, then .05. The ring is at .05, and in the response has a bump of
        height .8 on top, in the direction of the stronger stimulus (condition ``target_direction``). Squared
        errors weigh 1 before the response and 25 in it, and 0 in the first 100 ms of either; those of the
        fixation output four times as much.

        Conditions hold both directions, every strength (``stimulus_1_modality_1_strength``), which is the
        stronger (``stronger``), and ``signed_coherence``, above 0 where that is stimulus 2.

    Epochs
        ``fixation``, ``stimulus_1`` and ``stimulus_2`` 200, 400 or 600, ``delay_1`` 200, 400, 800 or 1600,
        ``delay_2`` 100 to 300, ``response`` 500 ms. Durations are drawn once a batch.

    Scoring
        1 where, at the last step, the fixation output is at most .5 and the population vector of the output
        ring lies within .2 pi of the target. `choose` tells which stimulus the response is nearer to.

    Ideal observer
        Knows the two directions and estimates both strengths by least squares from all steps;
        `ideal_accuracy` is its share of right choices in closed form. With the default noise it is
        practically always right.

    Constant inputs
        ``fixation cue``: the cue alone, as in the delays.

    Recipe
        64 rectified units with a time constant of 100 ms, whose recurrent weights begin as the identity; 2000
        steps of 64 trials at learning rate .003. The criterion is .95.

    Parameters
    ----------
    fixation, stimulus, delay_1, delay_2, response : float or Distribution
        Durations in ms; ``stimulus`` is drawn for each of the two. The response has no weight in its first
        100.
    coherence : float or Distribution
        Half the difference of the strengths, by default .08, .16 or .32; the paper's easy version has twice
        as much.
    mean_strength : float or Distribution
        Mean of the two strengths, by default from .8 to 1.2.
    n_ring : int
        Units of each ring; two stand for cosine and sine.
    noise_std : float
        Input noise in units of sqrt(ms); the default is .01 sqrt(2 100 ms), or .0316 per step of 20 ms.
    timing : {"batch", "trial"}
        Whether varied durations are drawn once a batch, as in the paper, or for each trial.
    dt : float
        Time step in ms.

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2 (and its published code)

    Examples
    --------
    >>> import numpy as np
    >>> task = Yang19DelayDM1()
    >>> trials = task.draw(4, np.random.default_rng(0))
    >>> strongest = np.where(trials.conditions["signed_coherence"] > 0, 2, 1)
    >>> bool((task.choose(trials.targets, trials) == strongest).all())
    True
    """

    fixation: Duration = Choice(200.0, 400.0, 600.0)
    stimulus: Duration = Choice(200.0, 400.0, 600.0)
    delay_1: Duration = Choice(200.0, 400.0, 800.0, 1600.0)
    delay_2: Duration = Uniform(100.0, 300.0)
    response: Duration = 500.0
    coherence: float | Distribution = Choice(0.08, 0.16, 0.32)
    mean_strength: float | Distribution = Uniform(0.8, 1.2)
    n_ring: int = 32
    noise_std: float = NOISE
    timing: str = "batch"
    dt: float = 20.0

    epoch_order = ("fixation", "stimulus_1", "delay_1", "stimulus_2", "delay_2", "response")
    modalities = (1,)
    attended = (1,)
    paper_name = "Dly DM 1"


@dataclass(frozen=True)
class Yang19DelayDM2(Yang19DelayDM1):
    """Point at the stronger of two stimuli in modality 2, shown one after the other.

    Story
        Two spots appear in different directions, one after the other, seen by modality 2. The first is
        remembered through a delay and compared with the second. When the fixation cue goes off, gaze goes to
        the stronger one.

    Inputs
        ============ ===============================================================
        channel      meaning
        ============ ===============================================================
        ``fixation`` 1 until the response, then 0
        ``ring_1_k`` noise only
        ``ring_2_k`` bumps at both stimuli, each in its epoch, times their strengths
        ============ ===============================================================

        The directions are at least pi / 2 apart. One strength is ``mean_strength`` + ``coherence``, the other
        ``mean_strength`` - ``coherence``. A bump is .8 exp(-d^2 / 2 (pi / 8)^2) in the unit whose direction,
        2 pi k / 32, is the angle d away. Gaussian noise of standard deviation ``noise_std / sqrt(dt)`` on
        every channel at every step.

    Targets
        ``fixation`` is .8 until the response, then .05. The ring is at .05, and in the response has a bump of
        height .8 on top, in the direction of the stronger stimulus (condition ``target_direction``). Squared
        errors weigh 1 before the response and 25 in it, and 0 in the first 100 ms of either; those of the
        fixation output four times as much.

        Conditions hold both directions, every strength (``stimulus_1_modality_1_strength``), which is the
        stronger (``stronger``), and ``signed_coherence``, above 0 where that is stimulus 2.

    Epochs
        ``fixation``, ``stimulus_1`` and ``stimulus_2`` 200, 400 or 600, ``delay_1`` 200, 400, 800 or 1600,
        ``delay_2`` 100 to 300, ``response`` 500 ms. Durations are drawn once a batch.

    Scoring
        1 where, at the last step, the fixation output is at most .5 and the population vector of the output
        ring lies within .2 pi of the target. `choose` tells which stimulus the response is nearer to.

    Ideal observer
        Knows the two directions and estimates both strengths by least squares from all steps;
        `ideal_accuracy` is its share of right choices in closed form. With the default noise it is
        practically always right.

    Constant inputs
        ``fixation cue``: the cue alone, as in the delays.

    Recipe
        64 rectified units with a time constant of 100 ms, whose recurrent weights begin as the identity; 2000
        steps of 64 trials at learning rate .003. The criterion is .95.

    Parameters
    ----------
    fixation, stimulus, delay_1, delay_2, response : float or Distribution
        Durations in ms; ``stimulus`` is drawn for each of the two. The response has no weight in its first
        100.
    coherence : float or Distribution
        Half the difference of the strengths, by default .08, .16 or .32; the paper's easy version has twice
        as much.
    mean_strength : float or Distribution
        Mean of the two strengths, by default from .8 to 1.2.
    n_ring : int
        Units of each ring; two stand for cosine and sine.
    noise_std : float
        Input noise in units of sqrt(ms); the default is .01 sqrt(2 100 ms), or .0316 per step of 20 ms.
    timing : {"batch", "trial"}
        Whether varied durations are drawn once a batch, as in the paper, or for each trial.
    dt : float
        Time step in ms.

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2 (and its published code)

    Examples
    --------
    >>> import numpy as np
    >>> task = Yang19DelayDM2()
    >>> trials = task.draw(4, np.random.default_rng(0))
    >>> strongest = np.where(trials.conditions["signed_coherence"] > 0, 2, 1)
    >>> bool((task.choose(trials.targets, trials) == strongest).all())
    True
    """

    modalities = (2,)
    attended = (2,)
    paper_name = "Dly DM 2"


@dataclass(frozen=True)
class Yang19ContextDelayDM1(DecisionTask):
    """Point at the stronger of two stimuli in modality 1, not 2, one after the other.

    Story
        Two spots appear in different directions, one after the other. Both modalities see them, with
        strengths of their own; modality 1 counts and modality 2 distracts. The first is remembered through a
        delay and compared with the second. When the fixation cue goes off, gaze goes to the stronger one.

    Inputs
        ============ ===============================================================
        channel      meaning
        ============ ===============================================================
        ``fixation`` 1 until the response, then 0
        ``ring_1_k`` bumps at both stimuli, each in its epoch, times their strengths
        ``ring_2_k`` likewise, with the strengths of modality 2
        ============ ===============================================================

        The directions are at least pi / 2 apart. One strength is ``mean_strength`` + ``coherence``, the other
        ``mean_strength`` - ``coherence``, drawn for each modality by itself. A bump is .8 exp(-d^2 / 2 (pi /
        8)^2) in the unit whose direction, 2 pi k / 32, is the angle d away. Gaussian noise of standard
        deviation ``noise_std / sqrt(dt)`` on every channel at every step.

    Targets
        ``fixation`` is .8 until the response, then .05. The ring is at .05, and in the response has a bump of
        height .8 on top, in the direction of the stronger stimulus (condition ``target_direction``). Squared
        errors weigh 1 before the response and 25 in it, and 0 in the first 100 ms of either; those of the
        fixation output four times as much.

        Conditions hold both directions, every strength (``stimulus_1_modality_1_strength``), which is the
        stronger (``stronger``), and ``signed_coherence``, above 0 where that is stimulus 2; those of modality
        2, the distractor, are called ``distracting_coherence`` and so on.

    Epochs
        ``fixation``, ``stimulus_1`` and ``stimulus_2`` 200, 400 or 600, ``delay_1`` 200, 400, 800 or 1600,
        ``delay_2`` 100 to 300, ``response`` 500 ms. Durations are drawn once a batch.

    Scoring
        1 where, at the last step, the fixation output is at most .5 and the population vector of the output
        ring lies within .2 pi of the target. `choose` tells which stimulus the response is nearer to.

    Ideal observer
        Knows the two directions and estimates both strengths by least squares from all steps of modality 1;
        `ideal_accuracy` is its share of right choices in closed form. With the default noise it is
        practically always right.

    Constant inputs
        ``fixation cue``: the cue alone, as in the delays.

    Recipe
        64 rectified units with a time constant of 100 ms, whose recurrent weights begin as the identity; 2000
        steps of 64 trials at learning rate .003. The criterion is .95.

    Parameters
    ----------
    fixation, stimulus, delay_1, delay_2, response : float or Distribution
        Durations in ms; ``stimulus`` is drawn for each of the two. The response has no weight in its first
        100.
    coherence : float or Distribution
        Half the difference of the strengths, by default .08, .16 or .32; the paper's easy version has twice
        as much.
    mean_strength : float or Distribution
        Mean of the two strengths, by default from .8 to 1.2.
    n_ring : int
        Units of each ring; two stand for cosine and sine.
    noise_std : float
        Input noise in units of sqrt(ms); the default is .01 sqrt(2 100 ms), or .0316 per step of 20 ms.
    timing : {"batch", "trial"}
        Whether varied durations are drawn once a batch, as in the paper, or for each trial.
    dt : float
        Time step in ms.

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2 (and its published code)

    Examples
    --------
    >>> import numpy as np
    >>> task = Yang19ContextDelayDM1()
    >>> trials = task.draw(4, np.random.default_rng(0))
    >>> strongest = np.where(trials.conditions["signed_coherence"] > 0, 2, 1)
    >>> bool((task.choose(trials.targets, trials) == strongest).all())
    True
    """

    fixation: Duration = Choice(200.0, 400.0, 600.0)
    stimulus: Duration = Choice(200.0, 400.0, 600.0)
    delay_1: Duration = Choice(200.0, 400.0, 800.0, 1600.0)
    delay_2: Duration = Uniform(100.0, 300.0)
    response: Duration = 500.0
    coherence: float | Distribution = Choice(0.08, 0.16, 0.32)
    mean_strength: float | Distribution = Uniform(0.8, 1.2)
    n_ring: int = 32
    noise_std: float = NOISE
    timing: str = "batch"
    dt: float = 20.0

    epoch_order = ("fixation", "stimulus_1", "delay_1", "stimulus_2", "delay_2", "response")
    modalities = (1, 2)
    attended = (1,)
    paper_name = "Ctx Dly DM 1"


@dataclass(frozen=True)
class Yang19ContextDelayDM2(Yang19ContextDelayDM1):
    """Point at the stronger of two stimuli in modality 2, not 1, one after the other.

    Story
        Two spots appear in different directions, one after the other. Both modalities see them, with
        strengths of their own; modality 2 counts and modality 1 distracts. The first is remembered through a
        delay and compared with the second. When the fixation cue goes off, gaze goes to the stronger one.

    Inputs
        ============ ===============================================================
        channel      meaning
        ============ ===============================================================
        ``fixation`` 1 until the response, then 0
        ``ring_1_k`` bumps at both stimuli, each in its epoch, times their strengths
        ``ring_2_k`` likewise, with the strengths of modality 2
        ============ ===============================================================

        The directions are at least pi / 2 apart. One strength is ``mean_strength`` + ``coherence``, the other
        ``mean_strength`` - ``coherence``, drawn for each modality by itself. A bump is .8 exp(-d^2 / 2 (pi /
        8)^2) in the unit whose direction, 2 pi k / 32, is the angle d away. Gaussian noise of standard
        deviation ``noise_std / sqrt(dt)`` on every channel at every step.

    Targets
        ``fixation`` is .8 until the response, then .05. The ring is at .05, and in the response has a bump of
        height .8 on top, in the direction of the stronger stimulus (condition ``target_direction``). Squared
        errors weigh 1 before the response and 25 in it, and 0 in the first 100 ms of either; those of the
        fixation output four times as much.

        Conditions hold both directions, every strength (``stimulus_1_modality_1_strength``), which is the
        stronger (``stronger``), and ``signed_coherence``, above 0 where that is stimulus 2; those of modality
        1, the distractor, are called ``distracting_coherence`` and so on.

    Epochs
        ``fixation``, ``stimulus_1`` and ``stimulus_2`` 200, 400 or 600, ``delay_1`` 200, 400, 800 or 1600,
        ``delay_2`` 100 to 300, ``response`` 500 ms. Durations are drawn once a batch.

    Scoring
        1 where, at the last step, the fixation output is at most .5 and the population vector of the output
        ring lies within .2 pi of the target. `choose` tells which stimulus the response is nearer to.

    Ideal observer
        Knows the two directions and estimates both strengths by least squares from all steps of modality 2;
        `ideal_accuracy` is its share of right choices in closed form. With the default noise it is
        practically always right.

    Constant inputs
        ``fixation cue``: the cue alone, as in the delays.

    Recipe
        64 rectified units with a time constant of 100 ms, whose recurrent weights begin as the identity; 2000
        steps of 64 trials at learning rate .003. The criterion is .95.

    Parameters
    ----------
    fixation, stimulus, delay_1, delay_2, response : float or Distribution
        Durations in ms; ``stimulus`` is drawn for each of the two. The response has no weight in its first
        100.
    coherence : float or Distribution
        Half the difference of the strengths, by default .08, .16 or .32; the paper's easy version has twice
        as much.
    mean_strength : float or Distribution
        Mean of the two strengths, by default from .8 to 1.2.
    n_ring : int
        Units of each ring; two stand for cosine and sine.
    noise_std : float
        Input noise in units of sqrt(ms); the default is .01 sqrt(2 100 ms), or .0316 per step of 20 ms.
    timing : {"batch", "trial"}
        Whether varied durations are drawn once a batch, as in the paper, or for each trial.
    dt : float
        Time step in ms.

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2 (and its published code)

    Examples
    --------
    >>> import numpy as np
    >>> task = Yang19ContextDelayDM2()
    >>> trials = task.draw(4, np.random.default_rng(0))
    >>> strongest = np.where(trials.conditions["signed_coherence"] > 0, 2, 1)
    >>> bool((task.choose(trials.targets, trials) == strongest).all())
    True
    """

    attended = (2,)
    paper_name = "Ctx Dly DM 2"


@dataclass(frozen=True)
class Yang19MultiDelayDM(DecisionTask):
    """Point at the stronger of two stimuli, both modalities together, shown one after the other.

    Story
        Two spots appear in different directions, one after the other. Both modalities see them; a spot that
        is strong in one may be weak in the other, and what counts is the sum. The first is remembered through
        a delay and compared with the second. When the fixation cue goes off, gaze goes to the stronger one.

    Inputs
        ============ ===============================================================
        channel      meaning
        ============ ===============================================================
        ``fixation`` 1 until the response, then 0
        ``ring_1_k`` bumps at both stimuli, each in its epoch, times their strengths
        ``ring_2_k`` likewise, with the strengths of modality 2
        ============ ===============================================================

        The directions are at least pi / 2 apart. One strength is ``mean_strength`` + ``coherence``, the other
        ``mean_strength`` - ``coherence``; a stimulus's strength s becomes s (1 + q) in one modality and s (1
        - q) in the other, 2 q being ``modality_difference``. A bump is .8 exp(-d^2 / 2 (pi / 8)^2) in the
        unit whose direction, 2 pi k / 32, is the angle d away. Gaussian noise of standard deviation
        ``noise_std / sqrt(dt)`` on every channel at every step.

    Targets
        ``fixation`` is .8 until the response, then .05. The ring is at .05, and in the response has a bump of
        height .8 on top, in the direction of the stronger stimulus (condition ``target_direction``). Squared
        errors weigh 1 before the response and 25 in it, and 0 in the first 100 ms of either; those of the
        fixation output four times as much.

        Conditions hold both directions, every strength (``stimulus_1_modality_1_strength``), which is the
        stronger (``stronger``), and ``signed_coherence``, above 0 where that is stimulus 2.

    Epochs
        ``fixation``, ``stimulus_1`` and ``stimulus_2`` 200, 400 or 600, ``delay_1`` 200, 400, 800 or 1600,
        ``delay_2`` 100 to 300, ``response`` 500 ms. Durations are drawn once a batch.

    Scoring
        1 where, at the last step, the fixation output is at most .5 and the population vector of the output
        ring lies within .2 pi of the target. `choose` tells which stimulus the response is nearer to.

    Ideal observer
        Knows the two directions and estimates both strengths by least squares from all steps, adding up the
        modalities; `ideal_accuracy` is its share of right choices in closed form. With the default noise it
        is practically always right.

    Constant inputs
        ``fixation cue``: the cue alone, as in the delays.

    Recipe
        64 rectified units with a time constant of 100 ms, whose recurrent weights begin as the identity; 2000
        steps of 64 trials at learning rate .003. The criterion is .95.

    Parameters
    ----------
    fixation, stimulus, delay_1, delay_2, response : float or Distribution
        Durations in ms; ``stimulus`` is drawn for each of the two. The response has no weight in its first
        100.
    coherence : float or Distribution
        Half the difference of the strengths, by default .08, .16 or .32; the paper's easy version has twice
        as much.
    mean_strength : float or Distribution
        Mean of the two strengths, by default from .8 to 1.2.
    modality_difference : float or Distribution
        Difference between a stimulus's strengths in the two modalities, as a share of its mean strength; by
        default from .2 to .8, either being the stronger.
    n_ring : int
        Units of each ring; two stand for cosine and sine.
    noise_std : float
        Input noise in units of sqrt(ms); the default is .01 sqrt(2 100 ms), or .0316 per step of 20 ms.
    timing : {"batch", "trial"}
        Whether varied durations are drawn once a batch, as in the paper, or for each trial.
    dt : float
        Time step in ms.

    References
    ----------
    Yang, G. R., Joglekar, M. R., Song, H. F., Newsome, W. T. & Wang, X.-J. (2019). Task representations in
    neural networks trained to perform many cognitive tasks. Nature Neuroscience 22, 297-306.
    doi:10.1038/s41593-018-0310-2 (and its published code)

    Examples
    --------
    >>> import numpy as np
    >>> task = Yang19MultiDelayDM()
    >>> trials = task.draw(4, np.random.default_rng(0))
    >>> strongest = np.where(trials.conditions["signed_coherence"] > 0, 2, 1)
    >>> bool((task.choose(trials.targets, trials) == strongest).all())
    True
    """

    fixation: Duration = Choice(200.0, 400.0, 600.0)
    stimulus: Duration = Choice(200.0, 400.0, 600.0)
    delay_1: Duration = Choice(200.0, 400.0, 800.0, 1600.0)
    delay_2: Duration = Uniform(100.0, 300.0)
    response: Duration = 500.0
    coherence: float | Distribution = Choice(0.08, 0.16, 0.32)
    mean_strength: float | Distribution = Uniform(0.8, 1.2)
    modality_difference: float | Distribution = Uniform(0.2, 0.8)
    n_ring: int = 32
    noise_std: float = NOISE
    timing: str = "batch"
    dt: float = 20.0

    epoch_order = ("fixation", "stimulus_1", "delay_1", "stimulus_2", "delay_2", "response")
    modalities = (1, 2)
    attended = (1, 2)
    strength_fields = ("coherence", "mean_strength", "modality_difference")
    paper_name = "MultSen Dly DM"
