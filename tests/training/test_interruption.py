import signal
import threading

import pytest

from neurornn.training.interruption import SIGNALS, Interruption

pytestmark = pytest.mark.usefixtures("ctrl_c")


@pytest.mark.parametrize("own", SIGNALS)
def test_a_signal_is_noted_and_a_second_one_interrupts(own):
    with Interruption() as interruption:
        assert interruption.asked is None
        signal.raise_signal(own)
        assert interruption.asked == own.name
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(own)
        assert interruption.asked == own.name


def test_two_different_signals_are_two_signals():
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert interruption.asked == "SIGTERM"


@pytest.mark.parametrize("fault", [None, ValueError])
def test_what_was_done_with_signals_before_is_done_again_afterwards(fault):
    before = [signal.getsignal(own) for own in SIGNALS]
    with pytest.raises(fault) if fault else Interruption():
        with Interruption():
            assert all(signal.getsignal(own) not in before for own in SIGNALS)
            if fault:
                raise fault
    assert [signal.getsignal(own) for own in SIGNALS] == before
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_one_within_another_takes_the_signals_and_gives_them_back():
    with Interruption() as outer:
        with Interruption() as inner:
            signal.raise_signal(signal.SIGTERM)
        assert (outer.asked, inner.asked) == (None, "SIGTERM")
        signal.raise_signal(signal.SIGINT)
    assert outer.asked == "SIGINT"


def test_outside_the_main_thread_signals_are_left_alone():
    before = [signal.getsignal(own) for own in SIGNALS]
    seen = []

    def work():
        with Interruption() as interruption:
            seen.append([signal.getsignal(own) for own in SIGNALS])
        seen.append(interruption.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before, None]
    assert [signal.getsignal(own) for own in SIGNALS] == before
