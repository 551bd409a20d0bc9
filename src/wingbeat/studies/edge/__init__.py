"""Edge of stability: does the sharpness rise to the threshold and stay there?"""
